"""States of a run, phases of an attempt, causes of failure, reasons to wait. One table of moves."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class RunState(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    """Waits to be placed, for the first time or again."""
    RUNNING = "running"
    """An attempt has it."""
    SUCCEEDED = "succeeded"
    """Done; its result is recorded."""
    FAILED = "failed"
    """Ended by a failure that is not tried again."""
    CANCELLED = "cancelled"
    """Ended on request."""

    @property
    def is_final(self) -> bool:
        """Whether a run in this state never moves again."""
        return not NEXT[self]


NEXT: Mapping[RunState, frozenset[RunState]] = {
    RunState.QUEUED: frozenset({RunState.RUNNING, RunState.CANCELLED, RunState.FAILED}),
    RunState.RUNNING: frozenset(
        {RunState.QUEUED, RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED}
    ),
    RunState.SUCCEEDED: frozenset(),
    RunState.FAILED: frozenset(),
    RunState.CANCELLED: frozenset(),
}
"""What may follow what. A queued run fails only because a run that it depends on did."""


def sources(target: RunState) -> frozenset[RunState]:
    """Return the states from which a run may go to `target`."""
    return frozenset(state for state, targets in NEXT.items() if target in targets)


class Phase(StrEnum):
    """How far an attempt is."""

    PLACING = "placing"
    """Claimed; the dispatcher's deadline covers it."""
    STARTING = "starting"
    """Its process lives and renews the lease; imports, data, network."""
    RUNNING = "running"
    """Steps are being done."""
    STOPPING = "stopping"
    """Saves, evaluates or was asked to stop."""
    ENDED = "ended"
    """Over; see its outcome."""


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    """Its lease ran out, or its process died without a word."""


class Failure(StrEnum):
    """Causes of failure; each has a budget of its own in `policy`."""

    PREEMPTED = "preempted"
    NODE_LOST = "node_lost"
    PROCESS_DIED = "process_died"
    HOST_MEMORY = "host_memory"
    GPU_MEMORY = "gpu_memory"
    DIVERGED = "diverged"
    DATA = "data"
    CODE = "code"
    SPEC = "spec"
    STORAGE = "storage"
    STORE_AWAY = "store_away"
    NO_PROGRESS = "no_progress"
    PLACEMENT = "placement"
    DEPENDENCY = "dependency"
    """A run that it depends on did not succeed."""


class Waiting(StrEnum):
    """Why a queued run does not run."""

    NO_CAPACITY = "NO_CAPACITY"
    NEVER_FITS = "NEVER_FITS"
    DEPENDENCY = "DEPENDENCY"
    BACKOFF = "BACKOFF"
    NO_DISPATCHER = "NO_DISPATCHER"
