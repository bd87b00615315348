"""The scheduler: from what is known to what is to be done. Pure: no store, no cluster, no clock.

Order: priority, then age. A run that does not fit now lets later ones pass until it has waited
`PATIENCE_S`. From then on what it needs is kept for it: what runs there ends in its time, nothing
new takes its place, and the run starts as soon as all is free. So a big run is not starved, and it
stops small ones for no longer than the attempts in its way take. One run at a time has that right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from convoy.launchers import Node
from convoy.phrases import duration, ordinal
from convoy.places import Floor, describe_node, describe_resources
from convoy.records import Attempt, Run
from convoy.states import Failure, Phase, RunState, Waiting

PATIENCE_S = 60.0
"""Seconds that a run which does not fit lets later ones pass."""


@dataclass(frozen=True)
class Snapshot:
    """What a round of the scheduler knows.

    Attributes:
        now: The store's clock.
        pending: Queued runs in order.
        live: Attempts that hold resources: not ended, or ended and not yet released.
        running: The run of every live attempt.
        needs: State of every run that a pending one depends on.
        nodes: What the cluster offers in all.
        exclusive: Kinds that must have a node for themselves.
        placed: Node of attempts that have not said it themselves yet, by run and number.
        overdue: Attempts, by run and number, whose lease or time to begin has run out; the store
            names none within a lease after an outage.
        steady: Whether the store has been there for so long that a silence is the attempt's own.
        most_workers: How many workers a run may have here; None: any number.
        progress_s: Seconds without a step, or another word of what it does, after which an attempt
            is ended.
    """

    now: datetime
    pending: Sequence[Run]
    live: Sequence[Attempt]
    running: Mapping[int, Run]
    needs: Mapping[int, RunState]
    nodes: Sequence[Node]
    exclusive: frozenset[str] = frozenset()
    placed: Mapping[tuple[int, int], str] = field(default_factory=dict)
    overdue: frozenset[tuple[int, int]] = frozenset()
    steady: bool = True
    most_workers: int | None = None
    progress_s: float = 1800.0


@dataclass(frozen=True)
class Start:
    """Claim this run and start its attempt on `node` (empty: several workers, anywhere)."""

    run: Run
    node: str


@dataclass(frozen=True)
class Lost:
    """Give this attempt up: why, and what was seen."""

    attempt: Attempt
    failure: Failure
    evidence: str


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        starts: Runs to claim, in order.
        waits: Why each of the others waits: a code and words.
        lost: Attempts to give up.
        doomed: Queued runs that can never start, with the reason.
        clear: Ended attempts whose resources are to be freed.
    """

    starts: Sequence[Start] = ()
    waits: Mapping[int, tuple[Waiting, str]] = field(default_factory=dict)
    lost: Sequence[Lost] = ()
    doomed: Mapping[int, str] = field(default_factory=dict)
    clear: Sequence[Attempt] = ()


def plan(snapshot: Snapshot) -> Plan:
    """Decide what to start, what waits and why, and what to give up."""
    queue = _Queue(snapshot)
    for position, run in enumerate(snapshot.pending, 1):
        queue.consider(run, position)
    return Plan(
        starts=queue.starts,
        waits=queue.waits,
        lost=_lost(snapshot),
        doomed=queue.doomed,
        clear=[attempt for attempt in snapshot.live if attempt.phase is Phase.ENDED],
    )


class _Queue:
    """One walk over the pending runs, placing them on a floor plan of the cluster."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.starts: list[Start] = []
        self.waits: dict[int, tuple[Waiting, str]] = {}
        self.doomed: dict[int, str] = {}
        self._floor = Floor(snapshot.nodes)
        self._kept_for: Run | None = None
        for attempt in snapshot.live:
            node = attempt.node or snapshot.placed.get((attempt.run_id, attempt.number), "")
            alone = snapshot.running[attempt.run_id].kind in snapshot.exclusive
            self._floor.occupy(attempt.resources, node=node, alone=alone)

    def consider(self, run: Run, position: int) -> None:
        """Start a run, or say why it waits."""
        if self._blocked_by_others(run) or self._rests(run):
            return
        alone = run.kind in self.snapshot.exclusive
        place = f"{ordinal(position)} of {len(self.snapshot.pending)}"
        if not self.snapshot.nodes:
            text = f"{place}; no node is up; `platform doctor` says what is wrong"
            self.waits[run.id] = (Waiting.NO_CAPACITY, text)
        elif why := self._never(run, alone):
            self.waits[run.id] = (Waiting.NEVER_FITS, why)
        elif nodes := self._floor.place(run.resources, alone=alone):
            self._floor.take(nodes, run.resources, alone=alone)
            self.starts.append(Start(run, nodes[0] if run.resources.workers == 1 else ""))
        else:
            self.waits[run.id] = (Waiting.NO_CAPACITY, f"{place}; {self._short_of(run, alone)}")
            self._keep_nodes_for(run, alone=alone)

    def _blocked_by_others(self, run: Run) -> bool:
        needs = {other: self.snapshot.needs.get(other) for other in run.depends_on}
        failed = [f"run {k} {s.value}" for k, s in needs.items() if s and _never_succeeds(s)]
        if failed:
            text = f"it depends on what did not succeed: {', '.join(failed)}; `platform retry`"
            self.doomed[run.id] = f"{text} that first, then this one"
            return True
        open_ = [
            f"run {other} ({state.value if state else 'unknown'})"
            for other, state in needs.items()
            if state is not RunState.SUCCEEDED
        ]
        if open_:
            self.waits[run.id] = (Waiting.DEPENDENCY, f"waits for {', '.join(open_)}")
        return bool(open_)

    def _rests(self, run: Run) -> bool:
        """Whether an earlier attempt still stands in the way, by its pause or its remains."""
        if run.not_before is not None and run.not_before > self.snapshot.now:
            until = run.not_before.strftime("%H:%M:%S UTC")
            text = f"rests until {until} after attempt {run.attempt}"
            self.waits[run.id] = (Waiting.BACKOFF, text)
            return True
        if run.id in self.snapshot.running:
            text = f"attempt {run.attempt} is being cleared away first"
            self.waits[run.id] = (Waiting.BACKOFF, text)
            return True
        return False

    def _never(self, run: Run, alone: bool) -> str:
        """Return why a run can never start here, or nothing."""
        most = self.snapshot.most_workers
        if most is not None and run.resources.workers > most:
            return (
                f"needs {run.resources.workers} workers, this dispatcher has {most}; "
                "dispatch on Ray, or submit it with --workers 1"
            )
        if Floor(self.snapshot.nodes).place(run.resources, alone=alone):
            return ""
        has = ", ".join(describe_node(node) for node in self.snapshot.nodes[:3])
        more = f" and {len(self.snapshot.nodes) - 3} more" if len(self.snapshot.nodes) > 3 else ""
        return (
            f"needs {describe_resources(run.resources)}; the cluster has {has}{more}; "
            "submit it with fewer --workers, --cpus or --gpus, or add nodes"
        )

    def _short_of(self, run: Run, alone: bool) -> str:
        text = f"needs {describe_resources(run.resources)}"
        text += ", alone on its node" if alone else ""
        text += f"; {self._floor.free_words()}"
        if self._kept_for is not None:
            text += f"; nodes are kept for run {self._kept_for.id}, which waits longest"
        ends = [
            (other.eta_s, other.id)
            for other in self.snapshot.running.values()
            if other.eta_s is not None
        ]
        if ends:
            eta_s, first = min(ends)
            text += f"; run {first} ends in {duration(eta_s)}"
        return text

    def _keep_nodes_for(self, run: Run, *, alone: bool) -> None:
        """Close the nodes that an impatient run needs; only the first such run has the right."""
        since = max(run.created_at, run.not_before or run.created_at)
        waited_s = (self.snapshot.now - since).total_seconds()
        if self._kept_for is None and waited_s >= PATIENCE_S:
            self._kept_for = run
            self._floor.keep(run.resources, alone=alone)


def _never_succeeds(state: RunState) -> bool:
    return state.is_final and state is not RunState.SUCCEEDED


def _lost(snapshot: Snapshot) -> list[Lost]:
    found = []
    for attempt in snapshot.live:
        if (attempt.run_id, attempt.number) in snapshot.overdue:
            found.append(_silent(attempt, snapshot.now))
        elif snapshot.steady and attempt.phase not in {Phase.PLACING, Phase.ENDED}:
            stuck = _stuck(attempt, snapshot)
            found.extend([stuck] if stuck else [])
    return found


def _silent(attempt: Attempt, now: datetime) -> Lost:
    late_s = (now - attempt.lease_until).total_seconds() if attempt.lease_until else 0.0
    if attempt.phase is Phase.PLACING:
        text = f"it did not show itself in time ({duration(late_s)} over its deadline)"
        return Lost(attempt, Failure.PLACEMENT, text)
    where = f"on {attempt.node}, process {attempt.pid}"
    text = f"no sign of life {where}; its lease ran out {duration(late_s)} ago"
    return Lost(attempt, Failure.NODE_LOST, text)


def _stuck(attempt: Attempt, snapshot: Snapshot) -> Lost | None:
    times = (attempt.created_at, attempt.began_at, snapshot.running[attempt.run_id].step_at)
    last = max(time for time in times if time is not None)
    silent_s = (snapshot.now - last).total_seconds()
    if silent_s <= snapshot.progress_s:
        return None
    step = snapshot.running[attempt.run_id].step
    text = f"no step for {duration(silent_s)} (the last was step {step})"
    return Lost(attempt, Failure.NO_PROGRESS, text)
