"""Processes of this machine: told apart from later ones of the same number, watched, ended."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Sequence

import psutil

START_SLACK_S = 1.0
"""Start times are read from clocks that may be set between two readings."""


def started_at_s(pid: int) -> float | None:
    """Return when a process was started (seconds since 1970), or None when there is none.

    One that has ended and only waits to be collected is none.
    """
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def is_same(pid: int, start_s: float) -> bool:
    """Return whether the process of that number, started at that time, lives."""
    now = started_at_s(pid)
    return now is not None and abs(now - start_s) < START_SLACK_S


def end_same(pid: int, start_s: float) -> None:
    """End a process by force, if it is the one that was started at that time."""
    if is_same(pid, start_s):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Watched:
    """A process whose end is seen at once, child or not.

    On Linux through a descriptor of the process, which a later process of the same number cannot
    take over; elsewhere by looking again and again.
    """

    LOOK_S = 0.2

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._start_s = started_at_s(pid)
        self._handle: int | None = None
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(ProcessLookupError):
                self._handle = os.pidfd_open(pid)

    def is_alive(self) -> bool:
        """Return whether it still runs."""
        if self._handle is not None:
            return not select.select([self._handle], [], [], 0)[0]
        return self._start_s is not None and is_same(self.pid, self._start_s)

    def wait(self, others: Sequence[int], *, timeout_s: float) -> list[int]:
        """Wait until it ends, one of the other descriptors has something, or time is up.

        Returns:
            Those of the other descriptors that have something.
        """
        if self._handle is not None:
            ready = select.select([self._handle, *others], [], [], timeout_s)[0]
            return [handle for handle in ready if handle != self._handle]
        until = time.monotonic() + timeout_s
        while self.is_alive() and time.monotonic() < until:
            if ready := select.select(list(others), [], [], self.LOOK_S)[0]:
                return ready
        return []

    def send(self, what: signal.Signals) -> None:
        """Send it a signal; one that is gone gets none."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, what)
