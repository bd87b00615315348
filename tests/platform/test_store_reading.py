from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from convoy.errors import RunNotFoundError
from convoy.records import Filter, Point
from convoy.states import Outcome, RunState
from convoy.store import Store

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def points(steps: range, value: float) -> list[Point]:
    return [Point(step, None, value, NOW + timedelta(seconds=step)) for step in steps]


def test_a_run_that_does_not_exist_says_what_to_type(store: Store) -> None:
    with pytest.raises(RunNotFoundError, match="no run 12; `platform runs`"):
        store.run(12)


def test_runs_are_listed_newest_first_page_by_page(desk: Any) -> None:
    ids = [run.id for run in desk.store.submit([desk.new_run()] * 7)]
    pages, before = [], None
    while page := desk.store.runs(limit=3, before=before):
        pages.append([run.id for run in page])
        before = page[-1].id
    assert pages == [[ids[6], ids[5], ids[4]], [ids[3], ids[2], ids[1]], [ids[0]]]


def test_a_filter_narrows_the_listing(desk: Any) -> None:
    a = desk.submit(kind="benchmark", owner="bob", study="t3", name="50%_off")
    b = desk.submit(backbone="ResNet18/eca", recipe="long", data="cifar10")
    c = desk.start().run_id

    def ids(**fields: Any) -> list[int]:
        return [run.id for run in desk.store.runs(Filter(**fields))]

    assert ids() == [c, b.id, a.id]
    assert ids(kind="benchmark") == ids(owner="bob") == ids(study="t3") == [a.id]
    assert ids(states=[RunState.RUNNING]) == [c]
    assert ids(states=[RunState.RUNNING, RunState.QUEUED], kind="classify") == [c, b.id]
    assert ids(ids=[a.id, c, 99]) == [c, a.id]
    assert ids(text="resnet18/ECA") == ids(text="long") == ids(text="CIFAR") == [b.id]
    assert ids(text="%_") == [a.id], "signs of SQL are plain text"
    assert ids(text="nothing like it") == []


def test_counts_name_every_state(desk: Any) -> None:
    assert desk.store.counts() == dict.fromkeys(RunState, 0)
    desk.submit()
    desk.start()
    assert desk.store.counts() == {
        **dict.fromkeys(RunState, 0),
        RunState.QUEUED: 1,
        RunState.RUNNING: 1,
    }


def test_series_come_back_point_by_point(desk: Any) -> None:
    run_id = desk.start().run_id
    loss = points(range(1, 501), 0.25)
    top1 = [Point(500, 1, 61.5, NOW + timedelta(milliseconds=7))]
    desk.store.progress(run_id, 1, points={"train_loss": loss[:300], "lr": []})
    desk.store.progress(run_id, 1, points={"train_loss": loss[300:], "val_top1_pct": top1})
    assert desk.store.series(run_id) == {"train_loss": loss, "val_top1_pct": top1}
    assert desk.store.series(run_id, ["val_top1_pct", "none"]) == {"val_top1_pct": top1}
    assert desk.store.series(99) == {}


def test_points_come_back_in_order_of_step_however_they_arrived(desk: Any) -> None:
    run_id = desk.start().run_id
    for steps in (range(5, 8), range(1, 3), range(3, 5)):
        desk.store.progress(run_id, 1, points={"a": points(steps, 1.0)})
    assert [point.step for point in desk.store.series(run_id)["a"]] == [1, 2, 3, 4, 5, 6, 7]


def test_a_batch_of_points_is_one_row(desk: Any) -> None:
    run_id = desk.start().run_id
    desk.store.progress(run_id, 1, points={"a": points(range(10, 1000), 1.0)})
    desk.store.append_log(run_id, 1, rank=0, text="a line\n" * 1000)
    with desk.store._reading() as connection:
        query = "SELECT run_id, attempt, first_step, last_step, length(body) FROM series_chunks"
        [row] = connection.exec_driver_sql(query).all()
        assert tuple(row[:4]) == (run_id, 1, 10, 999)
        assert row[4] < 15 * 990, "compressed"
        query = "SELECT attempt, rank, first_byte, end_byte, length(body) FROM log_chunks"
        [row] = connection.exec_driver_sql(query).all()
        assert tuple(row[:4]) == (1, 0, 0, 7000)
        assert row[4] < 100


def test_small_batches_share_a_row_until_it_is_full(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convoy.store.attempt.FULL_CHUNK_BYTES", 256)
    run_id = desk.start().run_id
    told = {"a": points(range(1, 201), 0.125), "b": points(range(1, 201), 7.5)}
    for first in range(0, 200, 2):
        batch = {name: series[first : first + 2] for name, series in told.items()}
        desk.store.progress(run_id, 1, points=batch)
    assert desk.store.series(run_id) == told
    with desk.store._reading() as connection:
        query = "SELECT first_step, last_step, length(body) FROM series_chunks ORDER BY id"
        rows = connection.exec_driver_sql(query).all()
    assert 2 < len(rows) < 50
    assert [row[0] for row in rows[1:]] == [row[1] + 1 for row in rows[:-1]]
    assert all(row[2] < 512 for row in rows)


def test_the_later_attempts_point_of_a_step_counts(desk: Any) -> None:
    run_id = desk.start().run_id
    desk.store.progress(run_id, 1, points={"a": points(range(1, 7), 1.0)})
    desk.store.end(run_id, 1, outcome=Outcome.LOST)
    desk.start(run_id)
    desk.store.progress(run_id, 2, points={"a": points(range(4, 9), 2.0)})
    merged = desk.store.series(run_id)["a"]
    assert [(p.step, p.value) for p in merged] == [
        (1, 1.0), (2, 1.0), (3, 1.0), (4, 2.0), (5, 2.0), (6, 2.0), (7, 2.0), (8, 2.0),
    ]  # fmt: skip


def test_a_log_is_read_on_from_a_cursor(desk: Any) -> None:
    run_id = desk.start().run_id
    other = desk.start().run_id
    texts = ["one\n", "zwei é \ud800\n", "drei\n"]
    for rank, text in enumerate(texts):
        desk.store.append_log(run_id, 1, rank=rank, text=text)
        desk.store.append_log(other, 1, rank=0, text="another run's\n")
    first, second = desk.store.log(run_id, limit=2)
    assert (first.rank, first.attempt, first.text) == (0, 1, "one\n")
    assert second.text == "zwei é ?\n"
    [third] = desk.store.log(run_id, after=second.cursor)
    assert third.text == "drei\n"
    assert desk.store.log(run_id, after=third.cursor) == []


def test_each_ranks_log_knows_its_offset(desk: Any) -> None:
    run_id = desk.start().run_id
    for rank, text in [(0, "abc\n"), (1, "é\n"), (0, "de\n"), (1, "f\n")]:
        desk.store.append_log(run_id, 1, rank=rank, text=text)
    with desk.store._reading() as connection:
        query = "SELECT rank, first_byte, end_byte FROM log_chunks ORDER BY id"
        rows = [tuple(row) for row in connection.exec_driver_sql(query)]
    assert rows == [(0, 0, 4), (1, 0, 3), (0, 4, 7), (1, 3, 5)]


def test_listings_touch_no_chunks(desk: Any) -> None:
    run_id = desk.start().run_id
    desk.submit(depends_on=(run_id,))
    said: list[str] = []
    listener = (desk.store._engine, "before_cursor_execute", lambda *args: said.append(args[2]))
    event.listen(*listener)
    desk.store.runs()
    desk.store.counts()
    desk.store.pending()
    desk.store.live_attempts()
    desk.store.run(run_id)
    event.remove(*listener)
    assert said
    assert not [statement for statement in said if "chunks" in statement]


def test_times_are_utc_wherever_the_server_stands(own_url: str, postgres: Any) -> None:
    if own_url.startswith("postgresql"):
        database = own_url.split("?")[0].rpartition("/")[2]
        postgres.execute(f"ALTER DATABASE {database} SET timezone = 'Asia/Kathmandu'")
    with Store.open(own_url) as store:
        now = store.now()
        assert now.tzinfo is UTC
        assert abs(now - datetime.now(UTC)) < timedelta(seconds=5)
        term = store.lead("a", host="h", pid=1, capacity={}, lease_s=60)
        assert term == 1
        assert abs(store.dispatchers()[0].seen_at - now) < timedelta(seconds=5)
        assert store.dispatchers()[0].alive
