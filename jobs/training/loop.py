"""An epoch of training: micro-batches to gradients, gradients to steps."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from backbones.build import anneal
from jobs.data.draws import seed_for
from jobs.data.loading import MicroBatches
from jobs.errors import InterruptedRunError
from jobs.job import JobContext
from jobs.recipes.training import TrainingRecipe
from jobs.training.checkpoints import Checkpoints
from jobs.training.losses import MAIN, Look, Losses
from jobs.training.optimiser import set_learning_rate
from jobs.training.schedule import learning_rate
from jobs.training.state import Progress, Trained

logger = logging.getLogger(__name__)

_IDS_SHOWN = 16


@dataclass(frozen=True)
class Place:
    """Where in a run a micro-batch stands.

    Attributes:
        seed: From which every draw of its pass follows, so that neither the number of workers nor
            an interruption changes it.
        epoch: Epochs trained so far, with the part of the present one.
    """

    seed: int
    epoch: float


LossOf = Callable[[nn.Module, Any, Place], Mapping[str, Tensor]]
"""Network as it is called, micro-batch and place to scalars on the device: `losses.MAIN`, which is
minimised, and its parts; every call gives the same names."""


@dataclass(frozen=True)
class Course:
    """What stays the same over all steps of a run.

    Attributes:
        recipe: The run's.
        seed: The run's.
        log_every_steps: Steps between two looks at the loss on a GPU.
        order: Which images come when; set before an epoch is loaded.
        batches: This worker's micro-batches, in that order.
        names: Of the training images, for messages.
        steps_per_epoch: Optimiser steps of an epoch.
        loss_of: What a micro-batch costs.
        context: Its surroundings.
        trained: What the steps change.
        parallel: The network as it is called: `trained.network`, wrapped when there are several
            workers.
        checkpoints: The run's.
        has_schedules: Whether the backbone's methods follow their schedules (temperatures), or
            stay as they are.
    """

    recipe: TrainingRecipe
    seed: int
    log_every_steps: int
    order: MicroBatches
    batches: Iterable[Any]
    names: Sequence[str]
    steps_per_epoch: int
    loss_of: LossOf
    context: JobContext
    trained: Trained
    parallel: nn.Module
    checkpoints: Checkpoints
    has_schedules: bool = True

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.recipe.epochs * self.steps_per_epoch

    def anneal(self, network: nn.Module, *, micro_step: int) -> None:
        """Set the schedules of the backbone's methods to a micro-batch of the run.

        They count the micro-batches of all workers, from 0, so that their course does not depend
        on how many workers share a step.
        """
        if not self.has_schedules:
            return
        per_epoch = self.steps_per_epoch * self.recipe.micro_batches
        anneal(network, step=micro_step, steps_per_epoch=per_epoch)


def train_epoch(course: Course) -> None:
    """Train to the end of the present epoch, from wherever it stands.

    Raises:
        DivergedError: A loss is not finite.
        InterruptedRunError: The context asked to stop; a checkpoint was kept.
    """
    progress = course.trained.progress
    course.order.start(epoch=progress.epoch, step=progress.step)
    batches = _waited_for(course.batches, progress)
    losses = Losses(
        every_steps=course.log_every_steps,
        explain=lambda step, loss: _divergence(course, step=step, loss=loss),
        context=course.context,
    )
    course.trained.network.train()
    while progress.step < course.steps_per_epoch:
        with _in_step(progress):
            rate = _set_rate(course)
            losses.add(_step(course, batches), step=progress.step)
            progress.count_step(images=course.recipe.batch_size)
            stop = course.context.stop_requested()
            looked = bool(stop) or losses.is_due or progress.step == course.steps_per_epoch
            if looked:
                _report(course, losses.look(), rate=rate)
        if stop:
            course.checkpoints.save()
            raise InterruptedRunError(stop)
        if looked and progress.step < course.steps_per_epoch:
            course.checkpoints.save_if_due()


def report_epoch(course: Course) -> None:
    """Tell the scores of the epoch that was just counted; their series begin with ``val_``."""
    progress = course.trained.progress
    facts = {"epoch": progress.epoch, "train_loss": progress.train_loss, **progress.scores}
    logger.info("epoch done", extra=facts)
    course.context.report(
        step=progress.steps,
        total_steps=course.total_steps,
        metrics={f"val_{name.removeprefix('val_')}": v for name, v in progress.scores.items()},
        epoch=progress.epoch,
    )


def _set_rate(course: Course) -> float:
    rate = learning_rate(
        course.recipe,
        step=course.trained.progress.steps,
        steps_per_epoch=course.steps_per_epoch,
    )
    set_learning_rate(course.trained.optimiser, rate)
    return rate


def _step(course: Course, batches: Iterator[Any]) -> Mapping[str, Tensor]:
    """Do one optimiser step and return this worker's mean losses, still on the device."""
    context, trained = course.context, course.trained
    trained.optimiser.zero_grad(set_to_none=True)
    turns = course.recipe.accumulation(context.world_size)
    means: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=context.device))
    for turn in range(turns):
        batch = next(batches)
        chunk = turn * context.world_size + context.rank
        with _gradients_to_others(course, send=turn == turns - 1):
            losses = _losses(course, batch, chunk=chunk)
            torch.autograd.backward(trained.scaler.scale(losses[MAIN] / turns))
        for name, loss in losses.items():
            means[name] += loss.detach() / turns
    _update(course)
    return means


def _losses(course: Course, batch: Any, *, chunk: int) -> Mapping[str, Tensor]:
    """Return the losses of a micro-batch; `chunk` counts them over the workers of a step."""
    steps = course.trained.progress.steps
    micro_step = steps * course.recipe.micro_batches + chunk
    place = Place(
        seed=seed_for("forward", course.seed, micro_step), epoch=steps / course.steps_per_epoch
    )
    course.anneal(course.trained.network, micro_step=micro_step)
    torch.manual_seed(place.seed)
    return course.loss_of(course.parallel, batch, place)


def _update(course: Course) -> None:
    trained, clip = course.trained, course.recipe.clip_grad
    if clip is not None:
        trained.scaler.unscale_(trained.optimiser)
        nn.utils.clip_grad_norm_(trained.network.parameters(), clip)
    trained.scaler.step(trained.optimiser)
    trained.scaler.update()
    if trained.ema is not None:
        trained.ema.update(trained.network)


def _gradients_to_others(course: Course, *, send: bool) -> AbstractContextManager[object]:
    """Return the context of a pass whose gradients are shared, or only added up here."""
    if send or not isinstance(course.parallel, DistributedDataParallel):
        return nullcontext()
    context: AbstractContextManager[object] = course.parallel.no_sync()
    return context


def _report(course: Course, look: Look, *, rate: float) -> None:
    progress = course.trained.progress
    progress.loss_sum += sum(look.losses)
    images = len(look.losses) * course.recipe.batch_size
    course.context.report(
        step=progress.steps,
        total_steps=course.total_steps,
        metrics={
            **look.means,
            "lr": rate,
            "images_per_s": images / max(look.seconds, 1e-9),
        },
    )


def _divergence(course: Course, *, step: int, loss: float) -> str:
    progress = course.trained.progress
    batch = course.order.of_step(epoch=progress.epoch, step=step)
    ids = ", ".join(course.names[index] for index in batch[:_IDS_SHOWN])
    more = f" and {len(batch) - _IDS_SHOWN} more" if len(batch) > _IDS_SHOWN else ""
    return (
        f"the training loss is {loss} in epoch {progress.epoch + 1}, step {step + 1} of "
        f"{course.steps_per_epoch}, on {ids}{more}; {course.checkpoints.kept}; try a lower "
        "recipe.lr, a longer warm-up, recipe.clip_grad, or precision fp32"
    )


def _waited_for(batches: Iterable[Any], progress: Progress) -> Iterator[Any]:
    """Yield batches and count the time spent waiting for them."""
    iterator = iter(batches)
    while True:
        began = time.monotonic()
        batch = next(iterator, None)
        progress.seconds_loading += time.monotonic() - began
        if batch is None:
            return
        yield batch


@contextmanager
def _in_step(progress: Progress) -> Iterator[None]:
    """Count the time inside as spent in a step, but for the waiting for images."""
    began, waited_s = time.monotonic(), progress.seconds_loading
    yield
    waited_s = progress.seconds_loading - waited_s
    progress.seconds_in_steps += time.monotonic() - began - waited_s
