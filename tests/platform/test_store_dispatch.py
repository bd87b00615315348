from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import update

from convoy.errors import IllegalMoveError, RunNotFoundError
from convoy.models import attempts, dispatchers, leaders, runs
from convoy.records import Filter
from convoy.states import Failure, Outcome, Phase, RunState, Waiting
from convoy.store import Store
from jobs.job import Resources

CLAIMER = """
import sys
from convoy.store import Store
url, term = sys.argv[1], int(sys.argv[2])
with Store.open(url) as store:
    runs = [run.id for run in store.pending()]
    print("ready", flush=True)
    sys.stdin.readline()
    for run_id in runs:
        if store.claim(run_id, dispatcher="x", term=term, deadline_s=60):
            print(run_id, flush=True)
"""


def ago(store: Store, table: Any, column: str, seconds: float) -> None:
    """Make something happen so many seconds earlier, by the database's clock."""
    with store._writing() as connection:
        first = connection.execute(table.select()).first()
        then = getattr(first, column) - timedelta(seconds=seconds)
        connection.execute(update(table).values({column: then}))


def lapse(store: Store) -> None:
    """Let every attempt's lease run out."""
    with store._writing() as connection:
        connection.execute(update(attempts).values(lease_until=store.now() - timedelta(seconds=1)))


def show(store: Store, name: str, *, pid: int = 1, lease_s: float = 60.0) -> int | None:
    return store.lead(name, host="here", pid=pid, capacity={"cpus": 2}, lease_s=lease_s)


def test_one_leads_and_others_stand_by(store: Store) -> None:
    assert show(store, "a") == 1
    assert show(store, "b") is None
    assert show(store, "a") == 1
    first, second = store.dispatchers()
    assert (first.name, first.leads, first.alive) == ("a", True, True)
    assert (second.name, second.leads, second.alive) == ("b", False, True)
    assert first.capacity == {"cpus": 2}


def test_another_takes_over_when_the_lease_has_run_out(store: Store) -> None:
    assert show(store, "a") == 1
    ago(store, leaders, "lease_until", 61)
    ago(store, dispatchers, "lease_until", 61)
    assert show(store, "b") == 2
    assert show(store, "a") is None
    first, second = store.dispatchers()
    assert (first.leads, second.leads) == (False, True)


def test_the_leader_keeps_its_term_when_it_was_only_late(store: Store) -> None:
    assert show(store, "a") == 1
    ago(store, leaders, "lease_until", 61)
    assert show(store, "a") == 1


def test_another_process_of_the_same_name_stands_by(store: Store) -> None:
    assert show(store, "a", pid=1) == 1
    assert show(store, "a", pid=2) is None
    ago(store, leaders, "lease_until", 61)
    assert show(store, "a", pid=2) == 2


def test_who_resigns_makes_room_at_once(store: Store) -> None:
    assert show(store, "a") == 1
    store.resign("b", term=1)
    assert show(store, "b") is None
    store.resign("a", term=1)
    assert not store.dispatchers()[0].alive
    assert show(store, "b") == 2
    store.resign("a", term=1)
    assert show(store, "b") == 2


def test_of_dispatchers_that_come_at_the_same_moment_one_leads(
    store_url: str, store: Store
) -> None:
    for trial in range(5):
        barrier = Barrier(4)

        def lead(name: str, barrier: Barrier = barrier) -> int | None:
            with Store.open(store_url) as mine:
                barrier.wait(30)
                return show(mine, name)

        with ThreadPoolExecutor(4) as pool:
            terms = list(pool.map(lead, [f"{name}{trial}" for name in "abcd"]))
        assert sorted(terms, key=str) == [trial + 1, None, None, None]
        ago(store, leaders, "lease_until", 61)


def test_dispatchers_that_were_not_seen_for_a_day_are_forgotten(store: Store) -> None:
    show(store, "old")
    ago(store, dispatchers, "seen_at", 86_401)
    show(store, "new")
    assert [dispatcher.name for dispatcher in store.dispatchers()] == ["new"]


def test_runs_wait_by_priority_then_by_age(desk: Any) -> None:
    low, high, low_too, highest = (desk.submit(priority=p).id for p in (0, 5, 0, 9))
    assert [run.id for run in desk.store.pending()] == [highest, high, low, low_too]
    assert [run.id for run in desk.store.pending(limit=2)] == [highest, high]
    desk.claim(high)
    assert [run.id for run in desk.store.pending()] == [highest, low, low_too]


def test_a_claim_reserves_the_resources(desk: Any) -> None:
    resources = Resources(workers=2, cpus=3.0, gpus=0.5)
    run_id = desk.submit(resources=resources).id
    attempt = desk.claim(run_id, deadline_s=90)
    assert (attempt.number, attempt.phase, attempt.resources) == (1, Phase.PLACING, resources)
    assert attempt.lease_until - attempt.created_at == timedelta(seconds=90)
    assert desk.store.live_attempts() == desk.store.attempts(run_id) == [attempt]
    run = desk.store.run(run_id)
    assert (run.state, run.attempt, run.phase) == (RunState.RUNNING, 1, Phase.PLACING)
    assert desk.store.history(run_id)[-1].reason == "claimed by desk"


def test_what_is_not_queued_is_not_claimed(desk: Any) -> None:
    running = desk.start().run_id
    ended = desk.submit().id
    desk.store.request_cancel(ended)
    for run_id in (running, ended):
        history = desk.store.history(run_id)
        claim = desk.store.claim(run_id, dispatcher="d", term=desk.lead(), deadline_s=9)
        assert claim is None
        assert desk.store.history(run_id) == history
    with pytest.raises(RunNotFoundError):
        desk.store.claim(99, dispatcher="d", term=desk.lead(), deadline_s=9)


def test_a_stale_term_claims_nothing(desk: Any) -> None:
    run_id = desk.submit().id
    term = show(desk.store, "a")
    assert term is not None
    ago(desk.store, leaders, "lease_until", 61)
    assert show(desk.store, "b") == term + 1
    for stale in (term, term + 2):
        assert desk.store.claim(run_id, dispatcher="a", term=stale, deadline_s=9) is None
    assert desk.store.run(run_id).state is RunState.QUEUED
    assert desk.store.claim(run_id, dispatcher="b", term=term + 1, deadline_s=9) is not None


def test_of_threads_that_claim_at_the_same_moment_each_run_goes_to_one(
    store_url: str, desk: Any
) -> None:
    ids = [run.id for run in desk.store.submit([desk.new_run()] * 12)]
    term = desk.lead()
    barrier = Barrier(4)

    def claim(_: int) -> list[int]:
        with Store.open(store_url) as mine:
            barrier.wait(30)
            return [
                run_id
                for run_id in ids
                if mine.claim(run_id, dispatcher="d", term=term, deadline_s=60)
            ]

    with ThreadPoolExecutor(4) as pool:
        claimed = [run_id for mine in pool.map(claim, range(4)) for run_id in mine]
    assert sorted(claimed) == ids
    assert all(len(desk.store.attempts(run_id)) == 1 for run_id in ids)


def test_of_processes_that_claim_at_the_same_moment_each_run_goes_to_one(
    store_url: str, desk: Any, repository: Path
) -> None:
    ids = [run.id for run in desk.store.submit([desk.new_run()] * 40)]
    command = [sys.executable, "-c", CLAIMER, store_url, str(desk.lead())]
    path = f"{repository / 'platform'}:{repository}"
    claimers = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={"PYTHONPATH": path},
        )
        for _ in range(3)
    ]  # fmt: skip
    claimed: list[int] = []
    for claimer in claimers:
        assert claimer.stdout is not None
        assert claimer.stdout.readline() == "ready\n"
    for claimer in claimers:
        assert claimer.stdin is not None
        claimer.stdin.write("go\n")
        claimer.stdin.flush()
    for claimer in claimers:
        out, _ = claimer.communicate(timeout=60)
        assert claimer.returncode == 0
        claimed += [int(line) for line in out.split()]
    assert sorted(claimed) == ids
    assert desk.store.counts()[RunState.RUNNING] == 40


def test_resources_stay_reserved_until_they_are_released(desk: Any) -> None:
    run_id = desk.start().run_id
    with pytest.raises(IllegalMoveError, match="has not ended"):
        desk.store.release(run_id, 1)
    with pytest.raises(IllegalMoveError, match="does not exist"):
        desk.store.release(run_id, 2)
    desk.store.end(run_id, 1, outcome=Outcome.LOST)
    [held] = desk.store.live_attempts()
    assert (held.run_id, held.released_at) == (run_id, None)
    desk.store.release(run_id, 1)
    assert desk.store.live_attempts() == []
    [released] = desk.store.attempts(run_id)
    desk.store.release(run_id, 1)
    assert desk.store.attempts(run_id) == [released]


def test_what_waits_says_why(desk: Any) -> None:
    first, second = desk.submit().id, desk.submit().id
    running = desk.start().run_id
    reasons = {
        first: (Waiting.NO_CAPACITY, "2nd in line; 4 CPUs are needed, 2 are free"),
        second: (Waiting.NEVER_FITS, "no machine has 3 GPUs"),
        running: (Waiting.NO_CAPACITY, "late"),
        99: (Waiting.NO_CAPACITY, "gone"),
    }
    desk.store.explain_waiting(reasons)
    desk.store.explain_waiting({})
    for run_id in (first, second):
        run = desk.store.run(run_id)
        assert (run.waiting, run.waiting_detail) == reasons[run_id]
    assert desk.store.run(running).waiting is None
    desk.claim(first)
    run = desk.store.run(first)
    assert (run.waiting, run.waiting_detail) == (None, "")


def test_explaining_the_same_again_writes_nothing(store_url: str, desk: Any) -> None:
    run_id = desk.submit().id
    reasons = {run_id: (Waiting.NO_CAPACITY, "full")}
    desk.store.explain_waiting(reasons)
    # Whoever wanted to write now would have to wait, and fail.
    with Store.open(store_url, timeout_s=0.1) as other, desk.store._writing() as connection:
        connection.execute(update(runs).values(status="held"))
        other.explain_waiting(reasons)


def test_a_queued_run_whose_dependency_failed_is_ended(desk: Any) -> None:
    run_id = desk.submit().id
    text = "Run 3, on which it depends, failed.\nNext: `platform show 3`."
    assert desk.store.fail_queued(run_id, failure=Failure.SPEC, text=text)
    run = desk.store.run(run_id)
    assert (run.state, run.failure, run.failure_text) == (RunState.FAILED, Failure.SPEC, text)
    line = desk.store.history(run_id)[-1]
    assert (line.source, line.reason) == (RunState.QUEUED, text.split("\n")[0])
    assert not desk.store.fail_queued(run_id, failure=Failure.SPEC, text=text)
    running = desk.start().run_id
    assert not desk.store.fail_queued(running, failure=Failure.SPEC, text=text)
    assert [run.id for run in desk.store.runs(Filter(states=[RunState.RUNNING]))] == [running]


def test_an_attempt_is_overdue_when_its_lease_has_run_out(desk: Any) -> None:
    placing = desk.claim(desk.submit().id)
    begun = desk.start()
    assert desk.store.overdue() == []
    lapse(desk.store)
    found = {(a.run_id, a.phase) for a in desk.store.overdue()}
    assert found == {(placing.run_id, Phase.PLACING), (begun.run_id, Phase.STARTING)}
    desk.store.renew(begun.run_id, 1, lease_s=60)
    desk.store.end(placing.run_id, 1, outcome=Outcome.LOST)
    assert desk.store.overdue() == []


def test_nothing_is_overdue_for_a_full_lease_after_nobody_led(desk: Any) -> None:
    desk.start()
    lapse(desk.store)
    ago(desk.store, leaders, "seen_at", 41)
    ago(desk.store, leaders, "lease_until", 3600)
    show(desk.store, "after the outage", lease_s=60)
    assert desk.store.overdue() == []
    show(desk.store, "after the outage", lease_s=60)
    assert desk.store.overdue() == [], "and the next rounds do not end it early"
    ago(desk.store, leaders, "grace_until", 60)
    assert len(desk.store.overdue()) == 1


def test_rounds_that_follow_each_other_give_no_such_grace(desk: Any) -> None:
    desk.start()
    lapse(desk.store)
    ago(desk.store, leaders, "seen_at", 39)
    ago(desk.store, leaders, "lease_until", 3600)
    show(desk.store, "slow", lease_s=60)
    assert len(desk.store.overdue()) == 1
