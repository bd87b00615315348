"""The dispatcher: asks the scheduler what to do, and does it.

Many may run, one leads. It holds nothing that would be lost with it: what it started goes on by
itself, and another one takes over from what the store and the cluster say.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from convoy.clearance import Clearance, ask_to_leave, is_here
from convoy.errors import LaunchError, StoreError, SupersededError
from convoy.launchers import Launcher, Node, Order, attempt_name
from convoy.records import Attempt, Filter, Run
from convoy.scheduler import Lost, Plan, Snapshot, Start, plan
from convoy.settings import Settings
from convoy.states import Failure, Outcome, Phase, Waiting
from convoy.store import Store
from jobs.job import kinds

logger = logging.getLogger(__name__)

LEADER_LEASE_S = 5.0
"""A leader that dies is followed after this time; attempts have leases of their own."""


@dataclass(frozen=True)
class Summary:
    """What one round did.

    Attributes:
        leads: Whether this dispatcher leads; if not it did nothing.
        started: Names of attempts that were started.
        doomed: Runs that ended because one that they depend on did not succeed.
        lost: Names of attempts that were given up.
        cleared: Names of ended attempts whose resources are free again.
        live: Attempts that hold resources.
        waiting: Queued runs by the reason for which they wait.
    """

    leads: bool
    started: Sequence[str] = ()
    doomed: Sequence[int] = ()
    lost: Sequence[str] = ()
    cleared: Sequence[str] = ()
    live: int = 0
    waiting: Mapping[int, Waiting] | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing that is queued can start by itself."""
        by_itself = {Waiting.NEVER_FITS, Waiting.DEPENDENCY}  # on what never fits, as nothing runs
        stuck = all(why in by_itself for why in (self.waiting or {}).values())
        return self.leads and stuck and not (self.live or self.started or self.doomed)


class Dispatcher:
    """One dispatcher over one store and one launcher.

    Args:
        store: Open; the caller closes it.
        launcher: Starts attempts; the caller closes it.
        settings: Resolved settings.
    """

    def __init__(self, store: Store, launcher: Launcher, settings: Settings) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}"
        self._store = store
        self._launcher = launcher
        self._settings = settings.resolved()
        self._clearance = Clearance(launcher, lease_s=self._settings.lease_s)
        self._launched: dict[str, str] = {}
        self._term: int | None = None
        self._lead_again_s = 0.0
        self._steady_since_s = time.monotonic()

    def step(self) -> Summary:
        """Do one round: lead, read, decide, act.

        Raises:
            StoreError: The store is away; the next round may succeed.
            LaunchError: The cluster does not answer.
        """
        nodes = self._launcher.capacity()
        if not self._lead(nodes) or self._term is None:
            return Summary(leads=False)
        snapshot = self._read(nodes)
        decided = plan(snapshot)
        lost = [name for one in decided.lost if (name := self._give_up(one))]
        cleared = [name for one in decided.clear if (name := self._clear(one, snapshot))]
        self._look_after_placing(snapshot)
        for run_id, text in decided.doomed.items():
            self._store.fail_queued(run_id, failure=Failure.DEPENDENCY, text=text)
        self._store.explain_waiting(decided.waits)
        started = [name for one in decided.starts if (name := self._start(one, self._term))]
        return Summary(
            leads=True,
            started=started,
            doomed=list(decided.doomed),
            lost=lost,
            cleared=cleared,
            live=len(snapshot.live) - len(cleared),
            waiting=_waiting(decided),
        )

    def run(self, *, until_idle: bool = False, stop: Callable[[], bool] = lambda: False) -> Summary:
        """Do rounds until told to stop; a store or cluster that is away is waited for.

        Args:
            until_idle: End when nothing runs and nothing that is queued can start.
            stop: Asked before every round.

        Returns:
            The last round's summary.
        """
        summary = Summary(leads=False)
        trouble = ""
        while not stop():
            try:
                summary = self.step()
                if trouble:
                    logger.warning("going on: store and cluster answer again")
                trouble = ""
            except (StoreError, LaunchError) as error:
                if type(error).__name__ != trouble:
                    logger.warning("waiting: %s", error)
                trouble = type(error).__name__
                self._lead_again_s = 0.0
                self._steady_since_s = time.monotonic()
            if until_idle and not trouble and summary.idle:
                break
            if not summary.started or trouble:
                time.sleep(self._settings.poll_s)
        return summary

    def close(self, *, patience_s: float = 20.0) -> None:
        """Give the lead to the next one at once; what was started goes on.

        Args:
            patience_s: Where attempts end with the launcher, they are asked to save first, and
                waited for so long.
        """
        if self._launcher.ends_attempts:
            self._let_them_save(patience_s)
        if self._term is not None:
            try:
                self._store.resign(self.name, term=self._term)
            except StoreError as error:
                logger.warning("could not resign; the lease will run out: %s", error)
        self._term = None

    def _let_them_save(self, patience_s: float) -> None:
        until_s = time.monotonic() + patience_s
        try:
            mine = [one for one in self._store.live_attempts() if _name(one) in self._launched]
            asked = [one for one in mine if one.phase is not Phase.ENDED and ask_to_leave(one)]
            while asked and time.monotonic() < until_s:
                time.sleep(0.1)
                asked = [one for one in asked if is_here(one)]
        except StoreError as error:
            logger.warning("attempts end without having been asked to save: %s", error)

    def _lead(self, nodes: Sequence[Node]) -> bool:
        now_s = time.monotonic()
        if self._term is not None and now_s < self._lead_again_s:
            return True
        before = self._term
        self._term = self._store.lead(
            self.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            capacity={node.name: {"cpus": node.cpus, "gpus": node.gpus} for node in nodes},
            lease_s=LEADER_LEASE_S,
            grace_s=self._settings.lease_s,
        )
        self._lead_again_s = now_s + LEADER_LEASE_S / 4
        if self._term != before:
            logger.info("leads" if self._term is not None else "stands by")
        return self._term is not None

    def _read(self, nodes: Sequence[Node]) -> Snapshot:
        pending = self._store.pending()
        live = self._store.live_attempts()
        running = self._runs({attempt.run_id for attempt in live})
        needs = self._runs({other for run in pending for other in run.depends_on})
        return Snapshot(
            now=self._store.now(),
            pending=pending,
            live=live,
            running=running,
            needs={run_id: run.state for run_id, run in needs.items()},
            nodes=nodes,
            exclusive=frozenset(name for name, kind in kinds().items() if kind.exclusive),
            placed={
                (attempt.run_id, attempt.number): self._launched.get(_name(attempt), "")
                for attempt in live
            },
            overdue=frozenset((late.run_id, late.number) for late in self._store.overdue()),
            steady=time.monotonic() > self._steady_since_s + self._settings.lease_s,
            most_workers=self._launcher.most_workers,
            progress_s=self._settings.progress_s,
        )

    def _runs(self, ids: set[int]) -> dict[int, Run]:
        if not ids:
            return {}
        found = self._store.runs(Filter(ids=sorted(ids)), limit=len(ids))
        return {run.id: run for run in found}

    def _start(self, one: Start, term: int) -> str:
        """Claim a run and start its attempt; return its name, or nothing when it was not to be."""
        attempt = self._store.claim(
            one.run.id, dispatcher=self.name, term=term, deadline_s=self._settings.placing_s
        )
        return self._launch(attempt, one.node) if attempt is not None else ""

    def _launch(self, attempt: Attempt, node: str) -> str:
        name = _name(attempt)
        order = Order(
            run_id=attempt.run_id,
            number=attempt.number,
            resources=attempt.resources,
            store_url=self._settings.store_url,
            storage_url=self._settings.storage_url,
            cache=str(self._settings.cache),
            lease_s=self._settings.lease_s,
            keep_checkpoints=self._settings.keep_checkpoints,
            node=node,
        )
        self._launched[name] = node
        try:
            self._launcher.launch(order)
        except LaunchError as error:
            self._end(attempt, Failure.PLACEMENT, str(error))
        return name

    def _look_after_placing(self, snapshot: Snapshot) -> None:
        """Start again what a dispatcher claimed and died over; end what died before it began."""
        for attempt in snapshot.live:
            lost = (attempt.run_id, attempt.number) in snapshot.overdue
            if attempt.phase is not Phase.PLACING or lost:
                continue
            alive = self._launcher.alive(_name(attempt))
            if _name(attempt) not in self._launched:
                if alive is not True:
                    self._launch(attempt, "")
            elif alive is False:
                text = "its process ended before it could say anything; see the launcher's own log"
                self._end(attempt, Failure.PLACEMENT, text)

    def _give_up(self, one: Lost) -> str:
        """End an attempt that was lost; its remains are cleared in the next round."""
        alive = self._launcher.alive(_name(one.attempt))
        seen = {True: "still there", False: "gone", None: "unknown"}[alive]
        text = f"{one.evidence}; its process is {seen}"
        return _name(one.attempt) if self._end(one.attempt, one.failure, text) else ""

    def _end(self, attempt: Attempt, failure: Failure, text: str) -> bool:
        who = (attempt.run_id, attempt.number)
        try:
            self._store.end(*who, outcome=Outcome.LOST, failure=failure, error=text)
        except SupersededError:
            return False  # it has ended by itself meanwhile
        logger.warning("attempt %s given up: %s", _name(attempt), text)
        return True

    def _clear(self, attempt: Attempt, snapshot: Snapshot) -> str:
        """Release what an ended attempt held once it is gone; return its name, or nothing."""
        others = [other.resources for other in snapshot.live if other is not attempt]
        if not self._clearance.clear(attempt, now=snapshot.now, others=others):
            return ""
        self._store.release(attempt.run_id, attempt.number)
        self._launched.pop(_name(attempt), None)
        return _name(attempt)


def _name(attempt: Attempt) -> str:
    return attempt_name(attempt.run_id, attempt.number)


def _waiting(decided: Plan) -> dict[int, Waiting]:
    return {run_id: why for run_id, (why, _) in decided.waits.items()}
