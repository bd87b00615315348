"""Says how far a check is, and when it will be done. Light."""

from __future__ import annotations

import time
from collections.abc import Callable


class Progress:
    """Tells of work on many alike things.

    Args:
        total: How many there are.
        what: What they are called: ``images of train``.
        status: Takes the words.
        clock: Seconds from any start.
    """

    def __init__(
        self,
        total: int,
        what: str,
        *,
        status: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._what = what
        self._status = status
        self._clock = clock
        self._start_s = clock()

    def tell(self, done: int) -> None:
        """Say that `done` of them are done."""
        text = f"checking {self._total:,} {self._what}"
        if done:
            left_s = (self._clock() - self._start_s) * (self._total - done) / done
            text += f": {done / self._total:.0%}, {_duration(left_s)} left"
        self._status(text)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
