"""An epoch of training: micro-batches to gradients, gradients to steps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from backbones.build import anneal
from jobs import device as devices
from jobs.classify import ClassifySpec
from jobs.classify.checkpoints import Checkpoints
from jobs.classify.data import Data
from jobs.classify.losses import Look, Losses
from jobs.classify.mixing import Mixing
from jobs.classify.optimiser import set_learning_rate
from jobs.classify.schedule import learning_rate
from jobs.classify.state import Progress, Trained
from jobs.data.draws import drawing, seed_for
from jobs.data.loading import Batches, epoch_order
from jobs.errors import InterruptedRunError
from jobs.job import JobContext

Batch = tuple[Tensor, Tensor, Tensor]
"""Images (N, 3, S, S) float32, labels (N,) int64, sample indices (N,) int64."""

_IDS_SHOWN = 16


@dataclass(frozen=True)
class Course:
    """What stays the same over all steps of a run.

    Attributes:
        spec: The run's.
        data: Its images.
        context: Its surroundings.
        trained: What the steps change.
        parallel: The network as it is called: `trained.network`, wrapped when there are several
            workers.
        checkpoints: The run's.
        mixing: Of images, or None.
    """

    spec: ClassifySpec
    data: Data
    context: JobContext
    trained: Trained
    parallel: nn.Module
    checkpoints: Checkpoints
    mixing: Mixing | None

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.spec.recipe.epochs * self.data.steps_per_epoch

    def anneal(self, network: nn.Module, *, micro_step: int) -> None:
        """Set the schedules of the backbone's methods to a micro-batch of the run.

        They count the micro-batches of all workers, from 0, so that their course does not depend
        on how many workers share a step.
        """
        per_epoch = self.data.steps_per_epoch * self.spec.recipe.micro_batches
        anneal(network, step=micro_step, steps_per_epoch=per_epoch)


def train_epoch(course: Course) -> None:
    """Train to the end of the present epoch, from wherever it stands.

    Raises:
        DivergedError: A loss is not finite.
        InterruptedRunError: The context asked to stop; a checkpoint was kept.
    """
    progress = course.trained.progress
    steps_per_epoch = course.data.steps_per_epoch
    course.data.order.start(epoch=progress.epoch, step=progress.step)
    batches = _waited_for(course.data.train_batches, progress)
    losses = Losses(
        every_steps=course.spec.log_every_steps,
        explain=lambda step, loss: _divergence(course, step=step, loss=loss),
        context=course.context,
    )
    course.trained.network.train()
    while progress.step < steps_per_epoch:
        with _in_step(progress):
            rate = _set_rate(course)
            losses.add(_step(course, batches), step=progress.step)
            progress.count_step(images=course.spec.recipe.batch_size)
            stop = course.context.stop_requested()
            looked = bool(stop) or losses.is_due or progress.step == steps_per_epoch
            if looked:
                _report(course, losses.look(), rate=rate)
        if stop:
            course.checkpoints.save()
            raise InterruptedRunError(stop)
        if looked and progress.step < steps_per_epoch:
            course.checkpoints.save_if_due()


def _set_rate(course: Course) -> float:
    rate = learning_rate(
        course.spec.recipe,
        step=course.trained.progress.steps,
        steps_per_epoch=course.data.steps_per_epoch,
    )
    set_learning_rate(course.trained.optimiser, rate)
    return rate


def _step(course: Course, batches: Iterator[Batch]) -> Tensor:
    """Do one optimiser step and return this worker's mean loss, still on the device."""
    context, trained = course.context, course.trained
    trained.optimiser.zero_grad(set_to_none=True)
    turns = course.spec.recipe.accumulation(context.world_size)
    mean = torch.zeros((), device=context.device)
    for turn in range(turns):
        batch = next(batches)
        chunk = turn * context.world_size + context.rank
        with _gradients_to_others(course, send=turn == turns - 1):
            loss = _loss(course, batch, chunk=chunk) / turns
            torch.autograd.backward(trained.scaler.scale(loss))
        mean += loss.detach()
    _update(course)
    return mean


def _loss(course: Course, batch: Batch, *, chunk: int) -> Tensor:
    """Return the mean loss of a micro-batch; `chunk` counts them over the workers of a step."""
    recipe, device = course.spec.recipe, course.context.device
    micro_step = course.trained.progress.steps * recipe.micro_batches + chunk
    # every draw of the pass follows from the place of its micro-batch in the run, so that neither
    # the number of workers nor an interruption changes it
    seed = seed_for("forward", course.spec.seed, micro_step)
    images = batch[0].to(device, non_blocking=True)
    targets = batch[1].to(device, non_blocking=True)
    if course.mixing is not None:
        with drawing(seed):
            epoch = course.trained.progress.steps / course.data.steps_per_epoch
            images, targets = course.mixing(images, targets, epoch=epoch)
    course.anneal(course.trained.network, micro_step=micro_step)
    torch.manual_seed(seed)
    with devices.mixed(recipe.precision, device=device):
        logits = course.parallel(images)
    return functional.cross_entropy(logits.float(), targets, label_smoothing=recipe.label_smoothing)


def _update(course: Course) -> None:
    trained, clip = course.trained, course.spec.recipe.clip_grad
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
    images = len(look.losses) * course.spec.recipe.batch_size
    course.context.report(
        step=progress.steps,
        total_steps=course.total_steps,
        metrics={
            "train_loss": sum(look.losses) / len(look.losses),
            "lr": rate,
            "images_per_s": images / max(look.seconds, 1e-9),
        },
    )


def _divergence(course: Course, *, step: int, loss: float) -> str:
    progress, recipe = course.trained.progress, course.spec.recipe
    order = epoch_order(len(course.data.train), seed=course.spec.seed, epoch=progress.epoch)
    batch = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
    ids = ", ".join(course.data.train[index].id for index in batch[:_IDS_SHOWN])
    more = f" and {len(batch) - _IDS_SHOWN} more" if len(batch) > _IDS_SHOWN else ""
    return (
        f"the training loss is {loss} in epoch {progress.epoch + 1}, step {step + 1} of "
        f"{course.data.steps_per_epoch}, on {ids}{more}; {course.checkpoints.kept}; try a lower "
        "recipe.lr, more recipe.warmup_epochs, recipe.clip_grad, or precision fp32"
    )


def _waited_for(batches: Batches, progress: Progress) -> Iterator[Batch]:
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
