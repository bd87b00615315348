from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import select, update

from convoy.errors import IllegalMoveError, RunNotFoundError, SupersededError
from convoy.models import metadata, runs
from convoy.records import Point
from convoy.states import Failure, Outcome, Phase, RunState
from convoy.store import Store

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def point(step: int, value: float = 0.5, *, epoch: int | None = None) -> Point:
    return Point(step, epoch, value, NOW + timedelta(seconds=step))


Write = Callable[[Store, int, int], object]
WRITES: Mapping[str, Write] = {
    "begin": lambda store, run, number: store.begin(
        run, number, node="n1", pid=7, environment={}, lease_s=9
    ),
    "renew": lambda store, run, number: store.renew(run, number, lease_s=9),
    "set_phase": lambda store, run, number: store.set_phase(run, number, Phase.STOPPING),
    "progress": lambda store, run, number: store.progress(
        run, number, step=9, status="late", points={"val_loss": [point(9)]}
    ),
    "empty progress": lambda store, run, number: store.progress(run, number),
    "append_log": lambda store, run, number: store.append_log(run, number, rank=0, text="late\n"),
    "empty log": lambda store, run, number: store.append_log(run, number, rank=0, text=""),
    "add_checkpoint": lambda store, run, number: store.add_checkpoint(
        run, number, step=9, path="late", size_mib=1.0
    ),
    "drop_checkpoint": lambda store, run, number: store.drop_checkpoint(run, "kept", number=number),
    "add_artifact": lambda store, run, number: store.add_artifact(
        run, number, name="kept", path="late", size_mib=1.0
    ),
    "end succeeded": lambda store, run, number: store.end(
        run, number, outcome=Outcome.SUCCEEDED, result={"scores": {"top1_pct": 99.0}}
    ),
    "end failed": lambda store, run, number: store.end(
        run, number, outcome=Outcome.FAILED, failure=Failure.NODE_LOST
    ),
    "end lost": lambda store, run, number: store.end(run, number, outcome=Outcome.LOST),
    "end cancelled": lambda store, run, number: store.end(run, number, outcome=Outcome.CANCELLED),
}


def queued_again(desk: Any, run_id: int) -> None:
    desk.store.end(run_id, 1, outcome=Outcome.LOST)


def taken_by_a_later_one(desk: Any, run_id: int) -> None:
    queued_again(desk, run_id)
    desk.start(run_id)


def succeeded(desk: Any, run_id: int) -> None:
    desk.store.end(run_id, 1, outcome=Outcome.SUCCEEDED, result={"scores": {"top1_pct": 1.0}})


def failed(desk: Any, run_id: int) -> None:
    desk.store.end(run_id, 1, outcome=Outcome.FAILED, failure=Failure.CODE)


def cancelled(desk: Any, run_id: int) -> None:
    desk.store.end(run_id, 1, outcome=Outcome.CANCELLED)


def everything(store: Store) -> dict[str, Sequence[Any]]:
    """Every row of every table."""
    with store._reading() as connection:
        return {
            table.name: connection.execute(select(table).order_by(*table.primary_key.columns)).all()
            for table in metadata.sorted_tables
        }


@pytest.mark.parametrize("over", [queued_again, taken_by_a_later_one, succeeded, failed, cancelled])
def test_a_superseded_attempt_changes_nothing(long_desk: Any, over: Any) -> None:
    store = long_desk.store
    run_id = long_desk.start().run_id
    store.add_checkpoint(run_id, 1, step=1, path="kept", size_mib=1.0)
    store.add_artifact(run_id, 1, name="kept", path="kept", size_mib=1.0)
    over(long_desk, run_id)
    before = everything(store)
    for name, write in WRITES.items():
        with pytest.raises(SupersededError, match=f"attempt 1 of run {run_id}"):
            write(store, run_id, 1)
        assert everything(store) == before, name


@pytest.mark.parametrize("change", [{"attempt": 2}, {"state": RunState.QUEUED}], ids=str)
def test_what_the_run_says_fences_even_an_attempt_that_nobody_ended(
    long_desk: Any, change: Mapping[str, Any]
) -> None:
    run_id = long_desk.start().run_id
    with long_desk.store._writing() as connection:
        connection.execute(update(runs).where(runs.c.id == run_id).values(change))
    with pytest.raises(SupersededError):
        long_desk.store.renew(run_id, 1, lease_s=9)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_write_for_an_attempt_or_run_that_never_was_is_refused(
    long_desk: Any, write: Write
) -> None:
    run_id = long_desk.start().run_id
    with pytest.raises(SupersededError):
        write(long_desk.store, run_id, 2)
    with pytest.raises(RunNotFoundError):
        write(long_desk.store, 10_000, 1)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_the_present_attempt_may_write(long_desk: Any, write: Write) -> None:
    write(long_desk.store, long_desk.start().run_id, 1)


def test_beginning_shows_where_the_attempt_runs(desk: Any) -> None:
    attempt = desk.claim(desk.submit().id)
    run = desk.store.begin(
        attempt.run_id, 1, node="n1", pid=7, environment={"torch": "2.15"}, lease_s=30
    )
    assert (run.state, run.phase) == (RunState.RUNNING, Phase.STARTING)
    [begun] = desk.store.attempts(run.id)
    assert (begun.node, begun.pid, begun.environment) == ("n1", 7, {"torch": "2.15"})
    assert begun.lease_until - begun.began_at == timedelta(seconds=30)
    assert desk.store.history(run.id)[-1].reason == "began on n1, process 7"


def test_the_same_process_may_begin_twice(desk: Any) -> None:
    attempt = desk.start()
    [first] = desk.store.attempts(attempt.run_id)
    desk.store.set_phase(attempt.run_id, 1, Phase.RUNNING)
    desk.store.begin(attempt.run_id, 1, node="n1", pid=7, environment={}, lease_s=900)
    [again] = desk.store.attempts(attempt.run_id)
    assert (again.phase, again.began_at) == (Phase.RUNNING, first.began_at)
    assert again.lease_until > first.lease_until


@pytest.mark.parametrize(("node", "pid"), [("n1", 8), ("n2", 7)])
def test_another_process_may_not_begin_the_same_attempt(desk: Any, node: str, pid: int) -> None:
    attempt = desk.start()
    before = everything(desk.store)
    with pytest.raises(SupersededError, match="process 7 on n1 has it"):
        desk.store.begin(attempt.run_id, 1, node=node, pid=pid, environment={}, lease_s=9)
    assert everything(desk.store) == before


def test_of_processes_that_begin_at_the_same_moment_one_gets_the_attempt(
    store_url: str, desk: Any
) -> None:
    for _ in range(5):
        attempt = desk.claim(desk.submit().id)
        barrier = Barrier(4)

        def begin(pid: int, run_id: int = attempt.run_id, barrier: Barrier = barrier) -> bool:
            with Store.open(store_url) as mine:
                barrier.wait(30)
                try:
                    mine.begin(run_id, 1, node="n1", pid=pid, environment={}, lease_s=9)
                except SupersededError:
                    return False
                return True

        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(begin, range(4))) == [False, False, False, True]


def test_renewing_moves_the_lease_by_the_databases_clock(desk: Any) -> None:
    attempt = desk.start(lease_s=1)
    before = desk.store.now()
    desk.store.renew(attempt.run_id, 1, lease_s=100)
    [renewed] = desk.store.attempts(attempt.run_id)
    assert before <= renewed.lease_until - timedelta(seconds=100) <= desk.store.now()


def test_a_lease_counts_from_after_the_wait_for_a_lock(
    postgres: Any, postgres_shared: str, new_run: Any
) -> None:
    postgres.empty(postgres_shared)
    with Store.open(postgres.url(postgres_shared)) as store, ThreadPoolExecutor(1) as pool:
        [run] = store.submit([new_run()])
        term = store.lead("d", host="h", pid=1, capacity={}, lease_s=60)
        assert term is not None
        store.claim(run.id, dispatcher="d", term=term, deadline_s=60)
        with store._writing() as connection:
            connection.execute(select(runs).with_for_update())
            renewed = pool.submit(store.renew, run.id, 1, lease_s=100)
            waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            while not postgres.execute(waits):
                assert not renewed.done()
            held = store.now()
        assert renewed.result(30).stop == ""
        until = store.attempts(run.id)[0].lease_until
        assert until is not None
        assert until - timedelta(seconds=100) > held


def test_phases_are_shown_on_the_run(desk: Any) -> None:
    attempt = desk.start()
    for phase in (Phase.RUNNING, Phase.STOPPING):
        desk.store.set_phase(attempt.run_id, 1, phase)
        assert desk.store.run(attempt.run_id).phase is phase


@pytest.mark.parametrize("phase", [Phase.PLACING, Phase.ENDED])
def test_an_attempt_does_not_place_or_end_itself_by_its_phase(desk: Any, phase: Phase) -> None:
    attempt = desk.start()
    with pytest.raises(IllegalMoveError, match=str(phase)):
        desk.store.set_phase(attempt.run_id, 1, phase)


def test_progress_is_kept_on_the_run(desk: Any) -> None:
    attempt = desk.start()
    store = desk.store
    store.progress(attempt.run_id, 1, status="checking 1,797 images")
    run = store.run(attempt.run_id)
    assert (run.status, run.step) == ("checking 1,797 images", 0)
    assert store.attempts(run.id)[0].first_step_at is None
    store.progress(attempt.run_id, 1, step=3, total_steps=10, epoch=1, eta_s=7.5, status="")
    run = store.run(attempt.run_id)
    assert (run.step, run.total_steps, run.epoch, run.eta_s) == (3, 10, 1, 7.5)
    assert run.status == ""
    first = store.attempts(run.id)[0].first_step_at
    assert first == run.step_at
    store.progress(attempt.run_id, 1, step=4)
    run = store.run(attempt.run_id)
    assert (run.step, run.total_steps) == (4, 10)
    assert store.attempts(run.id)[0].first_step_at == first


def test_work_outside_of_steps_goes_on_when_another_word_is_said_of_it(desk: Any) -> None:
    attempt = desk.start()

    def moment_after(status: str) -> datetime | None:
        desk.store.progress(attempt.run_id, 1, status=status)
        moment: datetime | None = desk.store.run(attempt.run_id).step_at
        return moment

    assert moment_after("") is None
    first = moment_after("checking: 1 image")
    assert first is not None
    assert moment_after("checking: 1 image") == first
    # the database's clock may not have ticked between two writes
    assert any(moment_after(f"checking: {count} images") != first for count in range(2, 1000))


def test_last_and_best_values_follow_from_the_points(desk: Any) -> None:
    attempt = desk.start()
    for step, top1, loss in [(1, 50.0, 2.0), (2, 70.0, math.nan), (3, 60.0, 1.0), (4, 65.0, 1.5)]:
        desk.store.progress(
            attempt.run_id,
            1,
            step=step,
            points={
                "val_top1_pct": [point(step, top1, epoch=step)],
                "val_loss": [point(step, loss, epoch=step)],
                "train_loss": [point(step, loss), point(step, loss / 2)],
                "lr": [],
            },
        )
    run = desk.store.run(attempt.run_id)
    assert run.last == {"val_top1_pct": 65.0, "val_loss": 1.5, "train_loss": 0.75}
    assert run.best == {"val_top1_pct": 70.0, "val_loss": 1.0}


def test_a_value_that_is_not_finite_is_kept_as_it_is(desk: Any) -> None:
    attempt = desk.start()
    points = {"val_loss": [point(1, math.nan), point(2, math.inf)]}
    desk.store.progress(attempt.run_id, 1, points=points)
    assert desk.store.run(attempt.run_id).last == {"val_loss": math.inf}
    nan, infinite = desk.store.series(attempt.run_id)["val_loss"]
    assert math.isnan(nan.value)
    assert infinite.value == math.inf


def test_a_checkpoint_recorded_twice_stands_once(desk: Any) -> None:
    attempt = desk.start()
    store = desk.store
    store.add_checkpoint(attempt.run_id, 1, step=10, path="a/10", size_mib=1.0)
    store.add_checkpoint(attempt.run_id, 1, step=20, path="a/20", size_mib=2.0)
    store.add_checkpoint(attempt.run_id, 1, step=20, path="a/20", size_mib=3.0)
    found = store.checkpoints(attempt.run_id)
    assert [(c.step, c.path, c.size_mib) for c in found] == [(10, "a/10", 1.0), (20, "a/20", 3.0)]
    store.drop_checkpoint(attempt.run_id, "a/10", number=1)
    store.drop_checkpoint(attempt.run_id, "unknown")
    assert [c.path for c in store.checkpoints(attempt.run_id)] == ["a/20"]


def test_an_attempt_goes_on_from_the_newest_checkpoint(desk: Any) -> None:
    run_id = desk.start().run_id
    for step in (10, 20):
        desk.store.add_checkpoint(run_id, 1, step=step, path=str(step), size_mib=1.0)
    desk.store.end(run_id, 1, outcome=Outcome.LOST)
    desk.start(run_id)
    first, second = desk.store.attempts(run_id)
    assert (first.resumed_step, second.resumed_step) == (None, 20)
    desk.store.request_cancel(run_id)
    desk.store.end(run_id, 2, outcome=Outcome.CANCELLED)
    taken_up = desk.start(desk.submit(retry_of=run_id).id)
    assert desk.store.attempts(taken_up.run_id)[0].resumed_step == 20


def test_a_later_artifact_of_the_same_name_takes_the_first_ones_place(desk: Any) -> None:
    run_id = desk.start().run_id
    desk.store.add_artifact(run_id, 1, name="model", path="1/model", size_mib=1.0)
    desk.store.end(run_id, 1, outcome=Outcome.LOST)
    desk.start(run_id)
    desk.store.add_artifact(run_id, 2, name="model", path="2/model", size_mib=2.0)
    desk.store.add_artifact(run_id, 2, name="curve", path="2/curve", size_mib=0.5)
    found = desk.store.artifacts(run_id)
    assert [(a.name, a.attempt, a.path) for a in found] == [
        ("curve", 2, "2/curve"),
        ("model", 2, "2/model"),
    ]
