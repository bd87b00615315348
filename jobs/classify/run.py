"""Train a backbone to classify images: data, network, optimiser, resume, loop, final scores."""

from __future__ import annotations

import logging

import torch
from timm.utils.model_ema import ModelEmaV3

from backbones.cost import cost
from jobs import device as devices
from jobs.classify import ClassifySpec
from jobs.classify.checkpoints import Checkpoints
from jobs.classify.data import check_images, load_data
from jobs.classify.evaluation import Scores, evaluate
from jobs.classify.mixing import make_mixing
from jobs.classify.network import check_initial, initial_name, make_network
from jobs.classify.optimiser import make_optimiser
from jobs.classify.state import Progress, Trained
from jobs.classify.training import Course, train_epoch
from jobs.classify.workers import make_parallel, share_buffers
from jobs.data import source
from jobs.errors import DivergedError
from jobs.job import JobContext, Json, Result

logger = logging.getLogger(__name__)


def check(spec: ClassifySpec, context: JobContext) -> None:
    """Read every image once and look at initial weights, on a CPU, before a device is taken.

    Raises:
        DatasetError: The data are missing, broken or not in the layout.
        SpecError: The file of initial weights does not fit the network.
    """
    listing, _ = check_images(spec, context)
    check_initial(spec, classes=len(listing.classes))


def run(spec: ClassifySpec, context: JobContext) -> Result:
    """Train and score a backbone.

    Raises:
        SpecError: The device, the workers or the images cannot serve the spec.
        DatasetError: The data are missing, broken or not in the layout.
        DivergedError: A loss is not finite; the last checkpoint is kept.
        OutOfMemoryError: A device or the host ran out of memory.
        InterruptedRunError: Asked to stop; a checkpoint was kept.
    """
    recipe = spec.recipe
    devices.require(recipe.precision, device=context.device)
    advice = f"make recipe.micro_batch ({recipe.micro_batch}) or recipe.image_size smaller"
    with (
        devices.torch_threads(context.threads),
        devices.arithmetic(recipe.precision),
        devices.memory_explained(advice),
    ):
        data = load_data(spec, context)
        context.status("building the network")
        trained = _make_trained(spec, classes=len(data.classes), context=context)
        checkpoints = Checkpoints(
            trained, spec_hash=spec.digest(), every_s=spec.checkpoint_every_s, context=context
        )
        if checkpoints.resume():
            context.status(f"going on from step {trained.progress.steps}")
        parallel = make_parallel(trained.network, context)
        mixing = make_mixing(recipe, classes=len(data.classes))
        course = Course(spec, data, context, trained, parallel, checkpoints, mixing)
        while trained.progress.epoch < recipe.epochs:
            train_epoch(course)
            trained.progress.count_epoch(_score(course).named())
            _report_epoch(course)
            checkpoints.save()
        checkpoints.count_time()
        return Result(scores=_scores(trained.progress), facts=_facts(course))


def _make_trained(spec: ClassifySpec, *, classes: int, context: JobContext) -> Trained:
    recipe = spec.recipe
    network = make_network(spec, classes=classes, device=context.device)
    return Trained(
        network=network,
        optimiser=make_optimiser(network, recipe),
        scaler=torch.amp.GradScaler(
            torch.device(context.device).type, enabled=recipe.precision == "fp16"
        ),
        ema=None if recipe.ema is None else ModelEmaV3(network, decay=recipe.ema),
        progress=Progress(),
    )


def _score(course: Course) -> Scores:
    """Score the network at an epoch's end.

    Raises:
        DivergedError: The loss is not finite.
    """
    context, trained = course.context, course.trained
    context.status(f"scoring {len(course.data.scored):,} images")
    share_buffers([trained.network, trained.scored], context)
    # schedules are no part of a checkpoint, and the averaged network never saw a training step
    last = trained.progress.steps * course.spec.recipe.micro_batches - 1
    course.anneal(trained.scored, micro_step=last)
    scores = evaluate(
        trained.scored,
        course.data.scored_batches,
        precision=course.spec.recipe.precision,
        context=context,
    )
    if not scores.is_finite:
        raise DivergedError(
            f"the validation loss is {scores.loss} after epoch {trained.progress.epoch + 1}; "
            f"{course.checkpoints.kept}; try a lower recipe.lr or more recipe.warmup_epochs"
        )
    return scores


def _report_epoch(course: Course) -> None:
    progress = course.trained.progress
    facts = {"epoch": progress.epoch, "train_loss": progress.train_loss, **progress.scores}
    logger.info("epoch done", extra=facts)
    course.context.report(
        step=progress.steps,
        total_steps=course.total_steps,
        metrics={f"val_{name.removeprefix('val_')}": v for name, v in progress.scores.items()},
        epoch=progress.epoch,
    )


def _scores(progress: Progress) -> dict[str, float]:
    """Return the result's scores: those of the last epoch; the best epoch's stand apart."""
    return {
        **progress.scores,
        "best_top1_pct": progress.best_top1_pct,
        "best_epoch": progress.best_epoch,
        "train_loss": progress.train_loss,
        "seconds_total": progress.seconds_total,
        "seconds_in_steps": progress.seconds_in_steps,
        "seconds_loading": progress.seconds_loading,
    }


def _facts(course: Course) -> dict[str, Json]:
    """Return what decides with whom the scores may be compared, and what is worth knowing."""
    spec, data, recipe = course.spec, course.data, course.spec.recipe
    costs = cost(spec.backbone, classes=len(data.classes), image_size=recipe.image_size)
    return {
        "task": "classify",
        "dataset": source.short_name(spec.data),
        "dataset_fingerprint": data.verdict.fingerprint,
        "split": "holdout" if spec.holdout_pct else "val",
        "holdout_pct": spec.holdout_pct,
        "train_pct": spec.train_pct,
        "recipe": recipe.name,
        "recipe_hash": recipe.digest(),
        "initial": initial_name(spec),
        "train_samples_seen": course.trained.progress.images,
        "image_size": recipe.image_size,
        "crop_pct": recipe.crop_pct,
        "ema": recipe.ema is not None,
        "precision": recipe.precision,
        "params": costs.params,
        "madds": costs.madds,
        "madds_assembly": costs.madds_assembly,
        "classes": len(data.classes),
        "train_images": len(data.train),
        "val_images": len(data.scored),
        "skipped_images": len(data.verdict.bad),
        "workers": course.context.world_size,
        "device": devices.name(course.context.device),
        "torch": torch.__version__,
    }
