"""Losses that were computed but not yet looked at: on a GPU each look waits for the device."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from jobs import device as devices
from jobs.errors import DivergedError
from jobs.job import JobContext
from jobs.training.workers import total

MAIN = "train_loss"
"""The loss that is minimised; others are its parts."""


@dataclass(frozen=True)
class Look:
    """What a look at the losses found.

    Attributes:
        losses: `MAIN`, one a step since the last look, averaged over the workers.
        means: Mean over these steps of `MAIN` and of its parts, by name.
        seconds: Time since the last look.
    """

    losses: list[float]
    means: Mapping[str, float]
    seconds: float


class Losses:
    """Collects the losses of each step and looks at them now and then.

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
        self._waiting: list[tuple[int, Mapping[str, Tensor]]] = []
        self._looked_at = time.monotonic()

    def add(self, losses: Mapping[str, Tensor], *, step: int) -> None:
        """Remember the losses (scalars on the device) of a step; each step has the same names."""
        self._waiting.append((step, losses))

    @property
    def is_due(self) -> bool:
        """Whether it is time to look."""
        return len(self._waiting) >= self._every_steps

    def look(self) -> Look:
        """Return the losses since the last look; there is at least one.

        Raises:
            DivergedError: One of `MAIN` is not finite.
        """
        steps = [step for step, _ in self._waiting]
        names = list(self._waiting[0][1])
        rows = [torch.stack([losses[name] for name in names]) for _, losses in self._waiting]
        stacked = total(torch.stack(rows), self._context) / self._context.world_size
        self._waiting.clear()
        columns: dict[str, list[float]] = dict(zip(names, stacked.T.tolist(), strict=True))
        for step, loss in zip(steps, columns[MAIN], strict=True):
            if not math.isfinite(loss):
                raise DivergedError(self._explain(step, loss))
        before, self._looked_at = self._looked_at, time.monotonic()
        return Look(
            losses=columns[MAIN],
            means={name: sum(values) / len(values) for name, values in columns.items()},
            seconds=self._looked_at - before,
        )
