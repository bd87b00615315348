"""Train a detector: data, network, optimiser, resume, loop, final scores, pictures."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict

import torch

from detection.errors import DetectionError
from detection.groups import parameter_groups
from detection.samples import write_samples
from jobs import device as devices
from jobs import initial as initials
from jobs.data import source
from jobs.detect import DetectSpec
from jobs.detect.data import Data, check_data, load_data
from jobs.detect.evaluation import Evaluated, evaluate
from jobs.detect.loss import DetectionLoss
from jobs.detect.network import check_initial, cost_of, make_network
from jobs.errors import InterruptedRunError
from jobs.job import JobContext, Json, Parent, Result
from jobs.training.checkpoints import Checkpoints
from jobs.training.loop import Course, report_epoch, train_epoch
from jobs.training.optimiser import optimiser_over
from jobs.training.state import Progress, Trained
from jobs.training.workers import make_parallel, share_buffers

logger = logging.getLogger(__name__)

PREDICTIONS = "predictions.json"

__all__ = ["PREDICTIONS", "check", "cost_of", "main_score", "run"]


def check(spec: DetectSpec, context: JobContext) -> None:
    """Read every image and annotation once, and look at initial weights, on a CPU.

    Raises:
        DatasetError: The data are missing, broken or not in the layout.
        SpecError: The initial weights of a file or a run do not fit the detector.
    """
    checked = check_data(spec, context)
    parent = initials.find(spec.initial, context)
    check_initial(spec, classes=len(checked.categories), parent=parent)


def run(spec: DetectSpec, context: JobContext) -> Result:
    """Train and score a detector.

    Raises:
        SpecError: The device, the workers or the images cannot serve the spec.
        DatasetError: The data are missing, broken or not in the layout.
        DivergedError: A loss is not finite; the last checkpoint is kept.
        OutOfMemoryError: A device or the host ran out of memory.
        InterruptedRunError: Asked to stop; a checkpoint was kept.
    """
    recipe = spec.recipe
    devices.require(recipe.precision, device=context.device)
    advice = f"make recipe.micro_batch ({recipe.micro_batch}) or recipe.short_sides smaller"
    with (
        devices.torch_threads(context.threads),
        devices.arithmetic(recipe.precision),
        devices.memory_explained(advice),
    ):
        data = load_data(spec, context)
        context.status("building the detector")
        parent = initials.find(spec.initial, context)
        trained = _make_trained(spec, data, context, parent=parent)
        checkpoints = Checkpoints(
            trained, spec_hash=spec.digest(), every_s=spec.checkpoint_every_s, context=context
        )
        checkpoints.resume()
        course = _course(spec, data, context, trained=trained, checkpoints=checkpoints)
        # before training: at its end a file of initial weights may be gone, or another one
        facts = _facts(spec, data, context, parent=parent)
        last = _train(spec, data, course)
        checkpoints.count_time()
        _keep(last, spec, data, context)
        return Result(
            scores=_scores(spec, trained.progress),
            facts=facts | {"train_samples_seen": trained.progress.images},
            rows=[asdict(category) for category in last.scores.categories],
        )


def main_score(spec: DetectSpec) -> str:
    """Return the score by which epochs are compared and detectors ranked."""
    return "mask_ap_pct" if spec.detector == "mask_rcnn" else "box_ap_pct"


def _make_trained(
    spec: DetectSpec, data: Data, context: JobContext, *, parent: Parent | None
) -> Trained:
    recipe = spec.recipe
    detector = make_network(
        spec, classes=len(data.checked.categories), device=context.device, parent=parent
    )
    groups = parameter_groups(
        detector,
        weight_decay=recipe.weight_decay,
        decays=recipe.decays,
        layer_decay=recipe.layer_decay,
        layers=recipe.layers,
    )
    return Trained.fresh(
        detector,
        optimiser_over(groups, recipe),
        precision=recipe.precision,
        device=context.device,
    )


def _course(
    spec: DetectSpec,
    data: Data,
    context: JobContext,
    *,
    trained: Trained,
    checkpoints: Checkpoints,
) -> Course:
    return Course(
        recipe=spec.recipe,
        seed=spec.seed,
        log_every_steps=spec.log_every_steps,
        order=data.order,
        batches=data.train_batches,
        names=data.names,
        steps_per_epoch=data.steps_per_epoch,
        loss_of=DetectionLoss(
            trained.network, precision=spec.recipe.precision, device=context.device
        ),
        context=context,
        trained=trained,
        parallel=make_parallel(trained.network, context),
        checkpoints=checkpoints,
        # weights that were trained before stay where their schedules ended; attention of random
        # ones has nothing to go by there yet, and gradients of MobileNetV2 grow a thousandfold
        has_schedules=spec.initial == initials.SCRATCH,
    )


def _train(spec: DetectSpec, data: Data, course: Course) -> Evaluated:
    """Train to the end and return the last evaluation."""
    progress, epochs = course.trained.progress, spec.recipe.epochs
    last: Evaluated | None = None
    while progress.epoch < epochs:
        last = None  # a hundred findings of thousands of images: not kept while the next is trained
        train_epoch(course)
        if (progress.epoch + 1) % spec.eval_every_epochs == 0 or progress.epoch + 1 == epochs:
            last = _evaluate(spec, data, course)
        progress.count_epoch(last.scores.named() if last else {}, main=main_score(spec))
        report_epoch(course)
        course.checkpoints.save()
    # a run that died after its last checkpoint has the scores but not what they are made of
    return last or _evaluate(spec, data, course)


def _evaluate(spec: DetectSpec, data: Data, course: Course) -> Evaluated:
    share_buffers([course.trained.network], course.context)
    course.context.status(f"looking at {data.checked.val.count:,} validation images")
    try:
        return evaluate(course.trained.network, data, spec=spec, context=course.context)
    except InterruptedRunError:
        course.checkpoints.save()
        raise


def _keep(last: Evaluated, spec: DetectSpec, data: Data, context: JobContext) -> None:
    """Keep what was found, and pictures of some of it."""
    if context.rank != 0:
        return
    context.status("drawing what was found")
    file = context.workdir / PREDICTIONS
    file.write_text(json.dumps(last.entries, separators=(",", ":")), "utf-8")
    context.keep(file, name=PREDICTIONS)
    try:
        names = write_samples(
            context.workdir,
            annotation_file=data.checked.val.annotations,
            images=data.checked.val.images,
            found=last.found,
            category_ids=data.category_ids,
            count=spec.samples,
        )
    except DetectionError as error:  # an image went away: no reason to lose what was trained
        logger.warning("no pictures are kept: %s", error)
        return
    for name in names:
        context.keep(context.workdir / name, name=name)


def _scores(spec: DetectSpec, progress: Progress) -> dict[str, float]:
    """Return the result's scores: those of the last epoch; the best epoch's stand apart."""
    return {
        **progress.scores,
        f"best_{main_score(spec)}": progress.best,
        "best_epoch": progress.best_epoch,
        "train_loss": progress.train_loss,
        **progress.seconds,
    }


def _facts(
    spec: DetectSpec, data: Data, context: JobContext, *, parent: Parent | None
) -> dict[str, Json]:
    """Return what decides with whom the scores may be compared, and what is worth knowing."""
    recipe, checked = spec.recipe, data.checked
    return {
        "task": "detect",
        "detector": spec.detector,
        "dataset": source.short_name(spec.data),
        "dataset_fingerprint": checked.fingerprint,
        "split": "val",
        "recipe": recipe.name,
        "recipe_hash": recipe.digest(),
        "initial": initials.name_of(spec.initial, parent),
        "image_size": recipe.scored_px,
        "ema": False,
        "precision": recipe.precision,
        **cost_of(spec, classes=len(checked.categories), parent=parent),
        "classes": len(checked.categories),
        "train_images": len(data.names),
        "val_images": checked.val.count,
        "skipped_images": checked.skipped_images,
        "skipped_objects": checked.skipped_objects,
        "workers": context.world_size,
        "device": devices.name(context.device),
        "torch": torch.__version__,
    }
