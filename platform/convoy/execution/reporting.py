"""Progress of an attempt on its way to the store: cheap to tell, sent in batches by a thread.

The store may be away: what was told is kept, thinned, and sent when it is back. A superseded
attempt learns it here.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from convoy.errors import StoreError, SupersededError
from convoy.records import Point, Requests
from convoy.states import Phase
from convoy.store import Store

logger = logging.getLogger(__name__)

FLUSH_S = 1.0
"""Pause between two batches."""
ASK_S = 3.0
"""With nothing to tell, the store is still asked this often whether the attempt shall stop."""
THIN_S = 0.5
"""A series keeps at most one point in this time, beside those of epochs."""
MEMORY_S = 120.0
"""Older steps hardly count in the estimate of what is left."""
MAX_POINTS = 20_000
"""Points of one series that wait at most while the store is away."""


@dataclass
class Pace:
    """Smoothed seconds per step; pauses between steps (evaluation) count as the time they take."""

    time_s: float = 0.0
    steps: float = 0.0
    last: tuple[float, int] | None = None

    def tell(self, step: int, *, at_s: float) -> None:
        """Take note of the step reached at a moment of a steady clock."""
        if self.last is not None and step > self.last[1]:
            passed_s = at_s - self.last[0]
            fading = math.exp(-passed_s / MEMORY_S)
            self.time_s = self.time_s * fading + passed_s
            self.steps = self.steps * fading + (step - self.last[1])
        if self.last is None or step > self.last[1]:
            self.last = (at_s, step)

    def left_s(self, total_steps: int) -> float | None:
        """Return the seconds to the end, or None before two steps are known."""
        if self.last is None or not self.steps:
            return None
        return max(0, total_steps - self.last[1]) * self.time_s / self.steps


@dataclass
class _Batch:
    """What has been told since the last batch."""

    status: str | None = None
    step: int | None = None
    total_steps: int | None = None
    epoch: int | None = None
    points: dict[str, list[Point]] = field(default_factory=dict)

    def is_empty(self) -> bool:
        return self == _Batch()

    def before(self, later: _Batch) -> None:
        """Put what could not be sent in front of what was told meanwhile."""
        for name, points in later.points.items():
            self.points.setdefault(name, []).extend(points)
        for name, kept in self.points.items():
            self.points[name] = thinned(kept)
        for name in ("status", "step", "total_steps", "epoch"):
            value = getattr(later, name)
            if value is not None:
                setattr(self, name, value)


def thinned(points: list[Point]) -> list[Point]:
    """Return at most `MAX_POINTS`: every other point goes until they fit, those of epochs stay."""
    while len(points) > MAX_POINTS:
        kept = [p for i, p in enumerate(points) if i % 2 or p.epoch is not None]
        if len(kept) == len(points):
            break
        points = kept
    return points


class Reporter:
    """Sends the progress of one attempt. Started by `start`, ended by `close`.

    Attributes:
        superseded: Another attempt has this one's place; nothing more is written.
    """

    def __init__(self, store: Store, run_id: int, number: int) -> None:
        self.superseded = False
        self._store = store
        self._who = (run_id, number)
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._batch = _Batch()
        self._pace = Pace()
        self._kept_at: dict[str, float] = {}
        self._thinned_away: dict[str, Point] = {}
        self._stop = ""
        self._said = False
        self._phase_told = Phase.STARTING
        self._writes: list[Callable[[], None]] = []
        self._wake = threading.Event()
        self._closing = False
        self._fault: BaseException | None = None
        self._asked_at = 0.0
        self._thread = threading.Thread(target=self._loop, name="convoy-reporter", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop_reason(self) -> str:
        """Return why the store wants the attempt to stop, or nothing.

        Raises:
            SupersededError: The attempt has lost its place.
        """
        self.raise_fault()
        return self._stop

    def raise_fault(self) -> None:
        """Raise what went wrong in the thread, where it can be seen.

        Raises:
            SupersededError: The attempt has lost its place.
        """
        if self.superseded:
            raise SupersededError(f"attempt {self._who[1]} of run {self._who[0]} was superseded")
        if self._fault is not None:
            raise self._fault

    def status(self, text: str) -> None:
        """Say what is going on outside of steps."""
        with self._lock:
            self._batch.status = text
            self._said = bool(text)

    def report(
        self, *, step: int, total_steps: int, metrics: Mapping[str, float], epoch: int | None
    ) -> None:
        """Take note of a step; see `JobContext.report`."""
        self.raise_fault()
        now_s = time.monotonic()
        at = datetime.now(UTC)
        with self._lock:
            first = self._pace.last is None
            self._pace.tell(step, at_s=now_s)
            self._batch.step, self._batch.total_steps = step, total_steps
            if self._said:
                self._batch.status, self._said = "", False
            if epoch is not None:
                self._batch.epoch = epoch
            for name, value in metrics.items():
                self._note(name, Point(step, epoch, float(value), at), now_s)
        if first:
            self._wake.set()

    def later(self, write: Callable[[], None]) -> None:
        """Make a write to the store now, or, when it is away, as soon as it is back."""
        with self._lock:
            self._writes.append(write)
        self.flush()
        self.raise_fault()

    def flush(self) -> bool:
        """Send what there is; return whether the store took it."""
        with self._sending:
            if self.superseded:
                return True
            with self._lock:
                batch, self._batch = self._batch, _Batch()
                writes, self._writes = self._writes, []
                eta_s = self._pace.left_s(batch.total_steps) if batch.total_steps else None
            try:
                # first what was told: once a checkpoint is recorded, nothing before it comes again
                self._send(batch, eta_s)
                batch = _Batch()
                while writes:
                    writes[0]()
                    writes.pop(0)
            except SupersededError:
                self.superseded = True
            except StoreError as error:
                logger.warning("the store does not take progress; kept for later: %s", error)
                self._put_back(batch, writes)
                return False
            return True

    def close(self) -> None:
        """Send the rest, however long the store is away, and end the thread."""
        with self._lock:
            for name, point in self._thinned_away.items():
                self._batch.points.setdefault(name, []).append(point)
            self._thinned_away = {}
        self._closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _note(self, name: str, point: Point, now_s: float) -> None:
        """Keep a point, or put it aside so that the last of a series is never the one left out."""
        kept_at = self._kept_at.get(name)
        if point.epoch is None and kept_at is not None and now_s - kept_at < THIN_S:
            self._thinned_away[name] = point
            return
        self._kept_at[name] = now_s
        self._thinned_away.pop(name, None)
        self._batch.points.setdefault(name, []).append(point)

    def _put_back(self, batch: _Batch, writes: list[Callable[[], None]]) -> None:
        with self._lock:
            batch.before(self._batch)
            self._batch = batch
            self._writes = writes + self._writes

    def _send(self, batch: _Batch, eta_s: float | None) -> None:
        now_s = time.monotonic()
        if batch.is_empty() and now_s - self._asked_at < ASK_S:
            return
        if batch.step is not None and self._phase_told is Phase.STARTING:
            self._store.set_phase(*self._who, Phase.RUNNING)
            self._phase_told = Phase.RUNNING
        requests: Requests = self._store.progress(
            *self._who,
            status=batch.status,
            step=batch.step,
            total_steps=batch.total_steps,
            epoch=batch.epoch,
            eta_s=eta_s,
            points=batch.points or None,
        )
        self._asked_at = now_s
        self._stop = requests.stop or self._stop

    def _loop(self) -> None:
        pause_s = FLUSH_S
        while not (self._closing and self._done()):
            self._wake.wait(pause_s)
            self._wake.clear()
            try:
                taken = self.flush()
            except BaseException as error:
                self._fault = error
                return
            pause_s = FLUSH_S if taken else min(pause_s * 2, 15.0)

    def _done(self) -> bool:
        with self._lock:
            return self.superseded or (self._batch.is_empty() and not self._writes)
