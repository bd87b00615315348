"""When a training run saves itself, and how it goes on from there."""

from __future__ import annotations

import time
from functools import partial

from jobs.job import JobContext
from jobs.training import state
from jobs.training.state import Trained
from jobs.training.workers import first_says


class Checkpoints:
    """The checkpoints of one run, and the clock that says when the next is due.

    Args:
        trained: What is saved.
        spec_hash: Of the spec.
        every_s: Seconds between two checkpoints.
        context: Keeps them.
    """

    def __init__(
        self, trained: Trained, *, spec_hash: str, every_s: float, context: JobContext
    ) -> None:
        self._trained = trained
        self._spec_hash = spec_hash
        self._every_s = every_s
        self._context = context
        self._saved_at = self._counted_at = time.monotonic()
        self._last_step: int | None = None

    def resume(self) -> None:
        """Go on from the last checkpoint, if there is one."""
        folder = self._context.resume()
        if folder is None:
            return
        state.read(self._trained, folder, spec_hash=self._spec_hash, device=self._context.device)
        self._last_step = self._trained.progress.steps
        self._context.status(f"going on from step {self._last_step}")

    def save(self) -> None:
        """Save now. All workers call it at the same step."""
        self.count_time()
        steps = self._trained.progress.steps
        write = partial(state.write, self._trained, spec_hash=self._spec_hash)
        self._context.save(step=steps, write=write)
        self._saved_at = time.monotonic()
        self._last_step = steps

    def save_if_due(self) -> None:
        """Save when the time has come by worker 0's clock."""
        if first_says(time.monotonic() - self._saved_at >= self._every_s, self._context):
            self.save()

    def count_time(self) -> None:
        """Add the time since the last call to the run's."""
        now = time.monotonic()
        self._trained.progress.seconds_total += now - self._counted_at
        self._counted_at = now

    @property
    def kept(self) -> str:
        """What is kept, in words."""
        if self._last_step is None:
            return "no checkpoint had been made yet"
        return f"the checkpoint of step {self._last_step} is kept"
