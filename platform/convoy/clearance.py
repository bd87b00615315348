"""Clearing an ended attempt away: killed by name, seen to be gone, only then is its place free.

A frozen process still holds its GPU's memory, so that its record says "ended" is not enough.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Sequence
from datetime import datetime, timedelta

from convoy.execution.processes import end_same, is_same
from convoy.launchers import Launcher, attempt_name
from convoy.records import Attempt
from convoy.states import Outcome
from jobs.job import Resources

logger = logging.getLogger(__name__)

LEAVE_S = 5.0
"""An attempt that ended by itself may take so long to leave; then it is ended by force."""
STUBBORN_S = 60.0
"""No attempt's remains are waited for longer; the next one starts, and may find less room."""


class Clearance:
    """Sees to it that nothing is left of ended attempts.

    Args:
        launcher: Knows attempts by name.
        lease_s: After so long without its lease an attempt that cannot be seen has ended itself.
    """

    def __init__(self, launcher: Launcher, *, lease_s: float) -> None:
        self._launcher = launcher
        self._lease = timedelta(seconds=lease_s)

    def clear(self, attempt: Attempt, *, now: datetime, others: Sequence[Resources]) -> bool:
        """Kill what is left of an ended attempt.

        Args:
            attempt: One that has ended.
            now: The store's clock.
            others: What the other attempts hold.

        Returns:
            Whether it is gone and its resources are free.
        """
        name = attempt_name(attempt.run_id, attempt.number)
        ended_s = (now - (attempt.ended_at or now)).total_seconds()
        if attempt.outcome is Outcome.LOST or ended_s > LEAVE_S:
            self._launcher.kill(name)
            _kill_here(attempt)
        if self._is_gone(attempt, name, now) and self._is_free(attempt, others):
            return True
        if ended_s < STUBBORN_S:
            return False
        logger.warning("%s ended %.0f s ago and has not been seen to go", name, ended_s)
        return True

    def _is_gone(self, attempt: Attempt, name: str, now: datetime) -> bool:
        """Whether its process is gone, as far as can be seen from here.

        What another machine's own cluster started cannot be seen at all; its keeper ends it within
        a lease, since the attempt has lost its place.
        """
        alive, here = self._launcher.alive(name), is_here(attempt)
        if alive is None and here is None and attempt.began_at is not None:
            return now > (attempt.lease_until or now) + self._lease
        return not alive and not here

    def _is_free(self, attempt: Attempt, others: Sequence[Resources]) -> bool:
        return attempt.resources.workers == 1 or self._launcher.freed(others)


def is_here(attempt: Attempt) -> bool | None:
    """Return whether an attempt's process lives on this machine; None when it was on another.

    An attempt inside this very process does not count: it ends before anybody could look.
    """
    start_s = attempt.environment.get("process_started_s")
    same_host = attempt.environment.get("host") == socket.gethostname()
    if not same_host or attempt.pid is None or not isinstance(start_s, float):
        return None
    return attempt.pid != os.getpid() and is_same(attempt.pid, start_s)


def ask_to_leave(attempt: Attempt) -> bool:
    """Ask the process of an attempt to save and stop, if it is here; return whether it is."""
    here = bool(is_here(attempt))
    if here and attempt.pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(attempt.pid, signal.SIGTERM)
    return here


def _kill_here(attempt: Attempt) -> None:
    if is_here(attempt) and attempt.pid is not None:
        end_same(attempt.pid, attempt.environment["process_started_s"])
