"""Losses that were computed but not yet looked at: on a GPU each look waits for the device."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from jobs import device as devices
from jobs.classify.workers import total
from jobs.errors import DivergedError
from jobs.job import JobContext


@dataclass(frozen=True)
class Look:
    """What a look at the losses found.

    Attributes:
        losses: One a step since the last look, averaged over the workers.
        seconds: Time since the last look.
    """

    losses: list[float]
    seconds: float


class Losses:
    """Collects the loss of each step and looks at them now and then.

    Args:
        every_steps: Steps between two looks on a GPU; on a CPU each is looked at.
        explain: Says for a step what to write when its loss is not finite.
        context: Over whose workers the losses are averaged.
    """

    def __init__(
        self, *, every_steps: int, explain: Callable[[int, float], str], context: JobContext
    ) -> None:
        self._every_steps = every_steps if devices.is_cuda(context.device) else 1
        self._explain = explain
        self._context = context
        self._waiting: list[tuple[int, Tensor]] = []
        self._looked_at = time.monotonic()

    def add(self, loss: Tensor, *, step: int) -> None:
        """Remember the loss (a scalar on the device) of a step."""
        self._waiting.append((step, loss))

    @property
    def is_due(self) -> bool:
        """Whether it is time to look."""
        return len(self._waiting) >= self._every_steps

    def look(self) -> Look:
        """Return the losses since the last look; there is at least one.

        Raises:
            DivergedError: One is not finite.
        """
        steps = [step for step, _ in self._waiting]
        stacked = total(torch.stack([loss for _, loss in self._waiting]), self._context)
        losses: list[float] = (stacked / self._context.world_size).tolist()
        self._waiting.clear()
        for step, loss in zip(steps, losses, strict=True):
            if not math.isfinite(loss):
                raise DivergedError(self._explain(step, loss))
        before, self._looked_at = self._looked_at, time.monotonic()
        return Look(losses=losses, seconds=self._looked_at - before)
