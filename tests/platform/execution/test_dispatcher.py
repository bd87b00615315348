"""The dispatcher over a real store and a launcher that only takes notes."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from convoy.clearance import Clearance
from convoy.dispatcher import LEADER_LEASE_S, Dispatcher
from convoy.errors import LaunchError, StoreAwayError
from convoy.execution.processes import started_at_s
from convoy.launchers import Launcher, Node, Order
from convoy.launchers.inline import InlineLauncher
from convoy.records import Run
from convoy.settings import Settings
from convoy.states import Failure, Outcome, RunState, Waiting
from convoy.store import Store
from jobs.job import Resources


class Notes:
    """A launcher whose attempts live until a test says otherwise."""

    def __init__(self) -> None:
        self.nodes: list[Node] = [Node("n1", cpus=2.0)]
        self.orders: dict[str, Order] = {}
        self.living: dict[str, bool | None] = {}
        self.killed: list[str] = []
        self.refuses = False
        self.free = True

    @property
    def ends_attempts(self) -> bool:
        return True

    @property
    def most_workers(self) -> int | None:
        return None

    def capacity(self) -> Sequence[Node]:
        return self.nodes

    def launch(self, order: Order) -> None:
        if self.refuses:
            raise LaunchError("no worker could be started")
        self.orders[order.name] = order
        self.living[order.name] = True

    def alive(self, name: str) -> bool | None:
        return self.living.get(name, False)

    def kill(self, name: str) -> None:
        self.killed.append(name)

    def freed(self, others: Sequence[Resources]) -> bool:
        return self.free

    def close(self) -> None:
        pass


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def dispatcher(store: Store, notes: Notes, settings: Settings) -> Dispatcher:
    return Dispatcher(store, notes, settings)


def start_of(pid: int) -> float:
    found = started_at_s(pid)
    assert found is not None
    return found


def begin(store: Store, run: Run, environment: dict[str, Any] | None = None) -> None:
    store.begin(
        run.id,
        store.run(run.id).attempt,
        node="n1",
        pid=environment["pid"] if environment else 1,
        environment=environment or {},
        lease_s=60.0,
    )


def test_a_waiting_run_is_claimed_and_ordered(
    front: Any, dispatcher: Dispatcher, notes: Notes, store: Store
) -> None:
    run = front.submit()
    assert dispatcher.step().started == ["run-1-1"]
    order = notes.orders["run-1-1"]
    assert (order.run_id, order.number, order.node) == (run.id, 1, "n1")
    assert store.run(run.id).state is RunState.RUNNING
    assert dispatcher.step().started == []


def test_an_order_does_not_print_addresses(
    front: Any, dispatcher: Dispatcher, notes: Notes, settings: Settings
) -> None:
    front.submit()
    dispatcher.step()
    assert settings.store_url not in repr(notes.orders["run-1-1"])


def test_what_waits_is_told_why(front: Any, dispatcher: Dispatcher, store: Store) -> None:
    front.submit(resources=Resources(cpus=2.0))
    second = front.submit()
    third = front.submit(depends_on=(second.id,))
    huge = front.submit(resources=Resources(cpus=64.0))
    summary = dispatcher.step()
    assert summary.waiting == {
        second.id: Waiting.NO_CAPACITY,
        third.id: Waiting.DEPENDENCY,
        huge.id: Waiting.NEVER_FITS,
    }
    assert store.run(second.id).waiting_detail.startswith("2nd of 4; needs 1 core")


def test_a_run_whose_dependency_failed_ends(
    front: Any, dispatcher: Dispatcher, store: Store
) -> None:
    first = front.submit()
    second = front.submit(depends_on=(first.id,))
    store.request_cancel(first.id)
    dispatcher.step()
    ended = store.run(second.id)
    assert (ended.state, ended.failure) == (RunState.FAILED, Failure.DEPENDENCY)
    assert "run 1 cancelled; `platform retry` that first, then this one" in ended.failure_text


def test_one_dispatcher_leads_and_the_other_stands_by(
    front: Any, dispatcher: Dispatcher, store: Store, settings: Settings, notes: Notes
) -> None:
    dispatcher.step()
    other = Dispatcher(store, notes, settings)
    other.name = "other"
    front.submit()
    assert not other.step().leads
    assert notes.orders == {}
    dispatcher.close()
    assert other.step().started == ["run-1-1"]


def test_what_a_dead_dispatcher_claimed_and_never_started_is_started(
    front: Any, dispatcher: Dispatcher, store: Store, settings: Settings
) -> None:
    front.submit()
    dispatcher.step()
    dispatcher.close()
    fresh = Notes()
    other = Dispatcher(store, fresh, settings)
    other.step()
    assert list(fresh.orders) == ["run-1-1"]


def test_what_another_dispatcher_started_is_not_started_twice(
    front: Any, dispatcher: Dispatcher, store: Store, settings: Settings, notes: Notes
) -> None:
    front.submit()
    dispatcher.step()
    dispatcher.close()
    notes.orders.clear()
    Dispatcher(store, notes, settings).step()
    assert notes.orders == {}


def test_an_attempt_that_dies_before_its_first_word_is_queued_again(
    front: Any, dispatcher: Dispatcher, store: Store, notes: Notes
) -> None:
    run = front.submit()
    dispatcher.step()
    notes.living["run-1-1"] = False
    dispatcher.step()
    assert store.run(run.id).state is RunState.QUEUED
    assert store.attempts(run.id)[0].failure is Failure.PLACEMENT


def test_an_attempt_that_cannot_be_started_is_queued_again(
    front: Any, dispatcher: Dispatcher, store: Store, notes: Notes
) -> None:
    run = front.submit()
    notes.refuses = True
    dispatcher.step()
    (attempt,) = store.attempts(run.id)
    assert attempt.error == "no worker could be started"
    assert store.run(run.id).state is RunState.QUEUED


def test_what_ended_is_released_only_when_it_is_seen_to_be_gone(
    front: Any, dispatcher: Dispatcher, store: Store, notes: Notes
) -> None:
    run = front.submit()
    dispatcher.step()
    begin(store, run)
    store.end(run.id, 1, outcome=Outcome.LOST, failure=Failure.NODE_LOST)
    assert dispatcher.step().cleared == []
    assert notes.killed == ["run-1-1"]
    notes.living["run-1-1"] = False
    assert dispatcher.step().cleared == ["run-1-1"]
    assert store.live_attempts() == []


def test_an_attempt_that_ended_by_itself_is_not_killed_while_it_leaves(
    front: Any, dispatcher: Dispatcher, store: Store, notes: Notes
) -> None:
    run = front.submit()
    dispatcher.step()
    begin(store, run)
    store.end(run.id, 1, outcome=Outcome.SUCCEEDED, result={"scores": {}})
    dispatcher.step()
    assert notes.killed == []


def test_several_workers_are_released_when_their_group_is_free(
    front: Any, dispatcher: Dispatcher, store: Store, notes: Notes
) -> None:
    run = front.submit(resources=Resources(workers=2))
    dispatcher.step()
    begin(store, run)
    store.end(run.id, 1, outcome=Outcome.LOST, failure=Failure.PROCESS_DIED)
    notes.living["run-1-1"], notes.free = False, False
    assert dispatcher.step().cleared == []
    notes.free = True
    assert dispatcher.step().cleared == ["run-1-1"]


def test_a_frozen_process_of_an_ended_attempt_is_ended_by_its_number(
    front: Any, dispatcher: Dispatcher, store: Store, notes: Notes
) -> None:
    frozen = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        run = front.submit()
        dispatcher.step()
        start_s = start_of(frozen.pid)
        host = socket.gethostname()
        begin(store, run, {"pid": frozen.pid, "process_started_s": start_s, "host": host})
        store.end(run.id, 1, outcome=Outcome.LOST, failure=Failure.NO_PROGRESS)
        notes.living["run-1-1"] = None  # the launcher cannot know
        cleared = [*dispatcher.step().cleared]
        assert frozen.wait(10) == -9
        assert [*cleared, *dispatcher.step().cleared] == ["run-1-1"]
    finally:
        frozen.kill()
        frozen.wait()


def test_what_cannot_be_seen_is_released_a_lease_after_its_own(
    front: Any, dispatcher: Dispatcher, store: Store, notes: Notes, settings: Settings
) -> None:
    run = front.submit()
    dispatcher.step()
    begin(store, run, {"pid": 1, "process_started_s": 1.0, "host": "elsewhere"})
    store.end(run.id, 1, outcome=Outcome.LOST, failure=Failure.NODE_LOST)
    notes.living["run-1-1"] = None
    assert dispatcher.step().cleared == []
    (ended,) = store.live_attempts()
    assert ended.lease_until is not None
    gone = Clearance(notes, lease_s=10.0)
    later = ended.lease_until + timedelta(seconds=20)
    assert gone.clear(ended, now=later, others=[])


def test_attempts_that_end_with_the_launcher_are_asked_to_save(
    front: Any, dispatcher: Dispatcher, store: Store, settings: Settings
) -> None:
    polite = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        run = front.submit()
        dispatcher.step()
        host = socket.gethostname()
        start_s = start_of(polite.pid)
        begin(store, run, {"pid": polite.pid, "process_started_s": start_s, "host": host})
        dispatcher.close()
        assert polite.wait(1) == -15
    finally:
        polite.kill()
        polite.wait()


def test_a_store_that_is_away_is_waited_for_and_said_once(
    front: Any,
    dispatcher: Dispatcher,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    front.submit()
    real, calls = store.pending, 0

    def pending() -> list[Run]:
        nonlocal calls
        calls += 1
        if calls < 4:
            raise StoreAwayError("the store is away")
        return real()

    monkeypatch.setattr(store, "pending", pending)
    dispatcher.run(stop=lambda: calls > 4)
    assert store.run(1).state is RunState.RUNNING
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "waiting: the store is away",
        "going on: store and cluster answer again",
    ]


def test_silence_during_an_outage_is_not_held_against_an_attempt(
    front: Any, dispatcher: Dispatcher, store: Store, settings: Settings
) -> None:
    short = settings.model_copy(update={"progress_s": 0.01, "lease_s": 2.0})
    run = front.submit()
    watcher = Dispatcher(store, Notes(), short)
    watcher.step()
    begin(store, run)
    time.sleep(0.05)
    assert watcher.step().lost == []  # it has not watched for a lease
    watcher._steady_since_s -= 3.0
    assert watcher.step().lost == ["run-1-1"]
    assert store.attempts(run.id)[0].failure is Failure.NO_PROGRESS


def test_until_idle_ends_when_what_is_left_can_never_start(
    front: Any, dispatcher: Dispatcher, store: Store
) -> None:
    huge = front.submit(resources=Resources(cpus=64.0))
    front.submit(depends_on=(huge.id,))
    assert dispatcher.run(until_idle=True).idle


def test_runs_go_from_submission_to_success_in_this_process(
    front: Any, store: Store, settings: Settings
) -> None:
    first = front.submit(steps=2)
    second = front.submit(steps=2, depends_on=(first.id,))
    launcher: Launcher = InlineLauncher(cpus=2.0)
    summary = Dispatcher(store, launcher, settings).run(until_idle=True)
    assert summary.idle
    assert store.run(second.id).state is RunState.SUCCEEDED
    assert store.live_attempts() == []
    assert settings.lease_s > LEADER_LEASE_S
