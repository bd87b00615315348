"""What the store hands out: frozen rows, free of SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from convoy.states import Failure, Outcome, Phase, RunState, Waiting
from jobs.job import Resources

Json = Any
"""A value that JSON can hold."""


@dataclass(frozen=True)
class NewRun:
    """A run to be submitted; everything has been checked.

    Attributes:
        kind: ``classify``, ``benchmark``, ...
        spec: The resolved spec as plain JSON.
        spec_hash: `Spec.digest()` of it.
        resources: What it takes; never part of the spec.
        owner: Who submitted it.
        name: What its owner calls it; may be empty.
        backbone: Canonical text, empty for kinds without one.
        data: What it reads, in a few words, for listings.
        recipe: Name of the recipe, for listings.
        priority: Higher goes first.
        key: Idempotency key: a second submission with it returns the first run.
        depends_on: Runs that must succeed first.
        retry_of: The ended run that this one takes up; its last checkpoint is handed over.
        code: Commit, version and (for a dirty tree) diff that submitted it.
        study: Study it belongs to, or empty.
    """

    kind: str
    spec: Mapping[str, Json]
    spec_hash: str
    resources: Resources
    owner: str
    name: str = ""
    backbone: str = ""
    data: str = ""
    recipe: str = ""
    priority: int = 0
    key: str | None = None
    depends_on: tuple[int, ...] = ()
    retry_of: int | None = None
    code: Mapping[str, Json] = field(default_factory=dict)
    study: str = ""


@dataclass(frozen=True)
class Following:
    """A run to be submitted together with the one that it starts from.

    Attributes:
        parent: Place of that one in the submission, from 0, before its own.
        make: Gives the run, checked, when it is told its parent's number.
    """

    parent: int
    make: Callable[[int], NewRun]


@dataclass(frozen=True)
class Run:
    """A run as the store knows it now.

    Attributes beyond those of `NewRun`:
        id: Number, from 1.
        state: Where it stands.
        attempt: Number of the present or last attempt; 0 before the first.
        created_at, started_at, ended_at: UTC.
        not_before: It rests until then (a retry's pause), or None.
        waiting: Why it waits, when it is queued.
        waiting_detail: The same in words, with position and what would help.
        cancel_reason: Why it shall stop (``user``, ``early_stop``, ...), or empty: a request, not
            a state.
        phase: Phase of the present attempt, or None.
        status: What it does just now, in words.
        step, total_steps, epoch: Progress; 0 before the first step.
        step_at: When the last step was told, or what is done outside of steps went on: a check of
            large data, or their evaluation, may take longer than an attempt may be silent.
        eta_s: Seconds that are left, as estimated by the attempt, or None.
        last: Last value of every series.
        best: Best value of every ``val_*`` series (highest, lowest for losses).
        result: ``{"scores": ..., "facts": ..., "rows": [...]}`` of a run that succeeded, else None.
        failure: Class of the failure that ended it, or None.
        failure_text: Cause, evidence, what was kept, what to type.
    """

    id: int
    kind: str
    spec: Mapping[str, Json]
    spec_hash: str
    resources: Resources
    owner: str
    name: str
    backbone: str
    data: str
    recipe: str
    study: str
    priority: int
    key: str | None
    depends_on: tuple[int, ...]
    retry_of: int | None
    code: Mapping[str, Json]
    state: RunState
    attempt: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    not_before: datetime | None
    waiting: Waiting | None
    waiting_detail: str
    cancel_reason: str
    phase: Phase | None
    status: str
    step: int
    total_steps: int
    epoch: int
    step_at: datetime | None
    eta_s: float | None
    last: Mapping[str, float]
    best: Mapping[str, float]
    result: Mapping[str, Json] | None
    failure: Failure | None
    failure_text: str


@dataclass(frozen=True)
class Attempt:
    """One try at a run. `resources` are reserved for it from the claim until `released_at`."""

    run_id: int
    number: int
    dispatcher: str
    phase: Phase
    outcome: Outcome | None
    failure: Failure | None
    error: str
    node: str
    pid: int | None
    environment: Mapping[str, Json]
    resources: Resources
    resumed_step: int | None
    created_at: datetime
    began_at: datetime | None
    first_step_at: datetime | None
    ended_at: datetime | None
    released_at: datetime | None
    lease_until: datetime | None


@dataclass(frozen=True)
class Move:
    """A line of a run's history: a change of state or a notable event."""

    run_id: int
    attempt: int
    at: datetime
    source: RunState | None
    target: RunState | None
    reason: str


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is whole: it was renamed into place, then recorded."""

    run_id: int
    attempt: int
    step: int
    path: str
    size_mib: float
    created_at: datetime


@dataclass(frozen=True)
class Artifact:
    """A file that a run keeps, under the storage URL."""

    run_id: int
    attempt: int
    name: str
    path: str
    size_mib: float


@dataclass(frozen=True)
class Point:
    """A value of a series."""

    step: int
    epoch: int | None
    value: float
    at: datetime


@dataclass(frozen=True)
class LogPiece:
    """Some lines of one rank's log.

    Attributes:
        cursor: Pass it to `Store.log` to read on from here.
        text: Whole lines, each ending in a newline.
    """

    cursor: int
    attempt: int
    rank: int
    at: datetime
    text: str


@dataclass(frozen=True)
class Requests:
    """What the store asks of a living attempt, answered at each renewal of its lease.

    Attributes:
        stop: Why it should save and stop, or empty.
    """

    stop: str = ""


@dataclass(frozen=True)
class Dispatcher:
    """A dispatcher that has shown itself; `leads` while it holds the leader's lease."""

    name: str
    host: str
    pid: int
    seen_at: datetime
    leads: bool
    capacity: Mapping[str, Json]
    alive: bool


@dataclass(frozen=True)
class Filter:
    """Which runs a listing wants; empty fields do not narrow."""

    states: Sequence[RunState] = ()
    kind: str = ""
    owner: str = ""
    study: str = ""
    ids: Sequence[int] = ()
    text: str = ""
    retry_of: int | None = None
