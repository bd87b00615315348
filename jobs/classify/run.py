"""Train a backbone to classify images: data, network, optimiser, resume, loop, final scores."""

from __future__ import annotations

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from backbones.cost import cost
from jobs import device as devices
from jobs import initial as initials
from jobs.classify import ClassifySpec
from jobs.classify.data import Data, check_images, load_data
from jobs.classify.evaluation import Scores, evaluate
from jobs.classify.mixing import make_mixing
from jobs.classify.network import check_initial, make_network
from jobs.classify.optimiser import make_optimiser
from jobs.classify.training import CrossEntropy
from jobs.data import source
from jobs.errors import DivergedError
from jobs.job import JobContext, Json, Result
from jobs.training.checkpoints import Checkpoints
from jobs.training.loop import Course, report_epoch, train_epoch
from jobs.training.state import Progress, Trained
from jobs.training.workers import make_parallel, share_buffers

MAIN = "top1_pct"
"""The score by which epochs are compared."""


def check(spec: ClassifySpec, context: JobContext) -> None:
    """Read every image once and look at initial weights, on a CPU, before a device is taken.

    Raises:
        DatasetError: The data are missing, broken or not in the layout.
        SpecError: The initial weights of a file or a run do not fit the network.
    """
    listing, _ = check_images(spec, context)
    parent = initials.find(spec.initial, context)
    check_initial(spec, classes=len(listing.classes), parent=parent)


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
        parent = initials.find(spec.initial, context)
        network = make_network(
            spec, classes=len(data.classes), device=context.device, parent=parent
        )
        trained = _make_trained(spec, network, device=context.device)
        checkpoints = Checkpoints(
            trained, spec_hash=spec.digest(), every_s=spec.checkpoint_every_s, context=context
        )
        checkpoints.resume()
        course = _course(spec, data, context, trained=trained, checkpoints=checkpoints)
        # before training: at its end a file of initial weights may be gone, or another one
        facts = _facts(spec, data, workers=context.world_size, device=context.device)
        facts["initial"] = initials.name_of(spec.initial, parent)
        while trained.progress.epoch < recipe.epochs:
            train_epoch(course)
            trained.progress.count_epoch(_score(course, data).named(), main=MAIN)
            report_epoch(course)
            checkpoints.save()
        checkpoints.count_time()
        return Result(
            scores=_scores(trained.progress),
            facts=facts | {"train_samples_seen": trained.progress.images},
        )


def _make_trained(spec: ClassifySpec, network: nn.Module, *, device: str) -> Trained:
    recipe = spec.recipe
    return Trained.fresh(
        network,
        make_optimiser(network, recipe),
        precision=recipe.precision,
        device=device,
        ema=None if recipe.ema is None else ModelEmaV3(network, decay=recipe.ema),
    )


def _course(
    spec: ClassifySpec,
    data: Data,
    context: JobContext,
    *,
    trained: Trained,
    checkpoints: Checkpoints,
) -> Course:
    mixing = make_mixing(spec.recipe, classes=len(data.classes))
    return Course(
        recipe=spec.recipe,
        seed=spec.seed,
        log_every_steps=spec.log_every_steps,
        order=data.order,
        batches=data.train_batches,
        names=[sample.id for sample in data.train],
        steps_per_epoch=data.steps_per_epoch,
        loss_of=CrossEntropy(spec.recipe, mixing, device=context.device),
        context=context,
        trained=trained,
        parallel=make_parallel(trained.network, context),
        checkpoints=checkpoints,
    )


def _score(course: Course, data: Data) -> Scores:
    """Score the network at an epoch's end.

    Raises:
        DivergedError: The loss is not finite.
    """
    context, trained = course.context, course.trained
    context.status(f"scoring {len(data.scored):,} images")
    share_buffers([trained.network, trained.scored], context)
    # schedules are no part of a checkpoint, and the averaged network never saw a training step
    last = trained.progress.steps * course.recipe.micro_batches - 1
    course.anneal(trained.scored, micro_step=last)
    scores = evaluate(
        trained.scored,
        data.scored_batches,
        precision=course.recipe.precision,
        context=context,
    )
    if not scores.is_finite:
        raise DivergedError(
            f"the validation loss is {scores.loss} after epoch {trained.progress.epoch + 1}; "
            f"{course.checkpoints.kept}; try a lower recipe.lr or more recipe.warmup_epochs"
        )
    return scores


def _scores(progress: Progress) -> dict[str, float]:
    """Return the result's scores: those of the last epoch; the best epoch's stand apart."""
    return {
        **progress.scores,
        "best_top1_pct": progress.best,
        "best_epoch": progress.best_epoch,
        "train_loss": progress.train_loss,
        **progress.seconds,
    }


def _facts(spec: ClassifySpec, data: Data, *, workers: int, device: str) -> dict[str, Json]:
    """Return what decides with whom the scores may be compared, and what is worth knowing."""
    recipe = spec.recipe
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
        "workers": workers,
        "device": devices.name(device),
        "torch": torch.__version__,
    }
