from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from threading import Barrier
from typing import Any

import pytest

from convoy.errors import IllegalMoveError, RunNotFoundError, SubmissionError
from convoy.records import Filter, Following, NewRun
from convoy.states import Failure, Outcome, RunState
from convoy.store import Store
from jobs.job import Resources


def test_a_submitted_run_is_queued_as_it_was_given(desk: Any) -> None:
    new = desk.new_run(
        spec={"backbone": "resnet18/eca", "rate": 0.1, "none": None},
        resources=Resources(workers=2, cpus=1.5, gpus=0.5),
        name="first",
        study="table 3",
        priority=7,
        key="k1",
        code={"commit": "abc", "diff": "+ é\n"},
    )
    [run] = desk.store.submit([new])
    for field in new.__dataclass_fields__:
        assert getattr(run, field) == getattr(new, field), field
    assert (run.state, run.attempt, run.phase, run.result) == (RunState.QUEUED, 0, None, None)
    assert run.created_at.tzinfo is UTC
    assert desk.store.run(run.id) == run
    [line] = desk.store.history(run.id)
    assert (line.source, line.target, line.reason) == (None, RunState.QUEUED, "submitted by ada")


def test_many_runs_are_submitted_in_the_order_given(desk: Any) -> None:
    new = [desk.new_run(name=f"n{number}", priority=number % 3) for number in range(250)]
    runs = desk.store.submit(new)
    assert [run.name for run in runs] == [run.name for run in new]
    assert [run.id for run in runs] == sorted(run.id for run in runs)


def test_no_run_at_all_is_no_error(store: Store) -> None:
    assert store.submit([]) == []


def test_a_known_key_returns_the_first_run(desk: Any) -> None:
    first = desk.submit(key="k", name="one")
    again = desk.submit(key="k", name="two")
    assert again == first
    assert len(desk.store.runs()) == 1


def test_a_key_given_twice_in_one_submission_makes_one_run(desk: Any) -> None:
    runs = desk.store.submit([desk.new_run(key="k"), desk.new_run(), desk.new_run(key="k")])
    assert runs[0].id == runs[2].id != runs[1].id
    assert len(desk.store.runs()) == 2


def test_a_key_of_another_spec_is_refused_and_says_whose_it_is(desk: Any) -> None:
    first = desk.submit(key="k")
    with pytest.raises(SubmissionError, match=f"'k' belongs to run {first.id}.*another key"):
        desk.store.submit([desk.new_run(), desk.new_run(key="k", spec_hash="f" * 16)])
    assert len(desk.store.runs()) == 1, "all or none"


def test_one_key_for_two_specs_of_one_submission_is_refused(desk: Any) -> None:
    with pytest.raises(SubmissionError, match="another run of this submission"):
        desk.store.submit([desk.new_run(key="k"), desk.new_run(key="k", spec_hash="f" * 16)])
    assert desk.store.runs() == []


def test_two_submissions_with_one_key_at_the_same_moment_make_one_run(
    store_url: str, desk: Any
) -> None:
    for trial in range(5):
        barrier = Barrier(4)

        def submit(key: str, barrier: Barrier = barrier) -> int:
            with Store.open(store_url) as mine:
                barrier.wait(30)
                return mine.submit([desk.new_run(key=key, code={"commit": key})])[0].id

        with ThreadPoolExecutor(4) as pool:
            ids = set(pool.map(submit, [f"key {trial}"] * 4))
        assert len(ids) == 1
    assert len(desk.store.runs()) == 5


def test_dependencies_are_kept_and_must_exist(desk: Any) -> None:
    first, second = desk.store.submit([desk.new_run(), desk.new_run()])
    run = desk.submit(depends_on=(second.id, first.id, first.id))
    assert run.depends_on == (first.id, second.id)
    assert desk.store.runs(Filter(ids=[run.id]))[0].depends_on == (first.id, second.id)
    with pytest.raises(SubmissionError, match="no run 98, 99, which"):
        desk.submit(depends_on=(99, first.id, 98))


def test_only_a_run_that_has_ended_is_taken_up(desk: Any) -> None:
    run = desk.submit()
    with pytest.raises(SubmissionError, match=f"run {run.id} is queued.*platform cancel"):
        desk.submit(retry_of=run.id)
    with pytest.raises(SubmissionError, match="no run 99"):
        desk.submit(retry_of=99)
    desk.store.request_cancel(run.id)
    assert desk.submit(retry_of=run.id).retry_of == run.id


def test_code_versions_are_stored_once(desk: Any) -> None:
    diff = {"commit": "abc", "diff": "+" * 10_000}
    desk.store.submit([desk.new_run(code=diff)] * 3)
    desk.submit(code=diff)
    with desk.store._reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM codes").scalar() == 1
    assert all(run.code == diff for run in desk.store.runs())


def test_cancelling_a_queued_run_ends_it_at_once(desk: Any) -> None:
    run = desk.store.request_cancel(desk.submit().id, reason="early_stop")
    assert (run.state, run.cancel_reason) == (RunState.CANCELLED, "early_stop")
    assert run.ended_at is not None
    assert desk.store.history(run.id)[-1].reason == "cancelled while queued: early_stop"


def test_cancelling_a_running_run_is_a_request(desk: Any) -> None:
    attempt = desk.start()
    assert desk.store.renew(attempt.run_id, 1, lease_s=60).stop == ""
    run = desk.store.request_cancel(attempt.run_id)
    assert (run.state, run.cancel_reason) == (RunState.RUNNING, "user")
    assert desk.store.renew(attempt.run_id, 1, lease_s=60).stop == "user"
    assert desk.store.progress(attempt.run_id, 1, step=1).stop == "user"
    line = desk.store.history(run.id)[-1]
    assert (line.source, line.target, line.reason) == (None, None, "asked to stop: user")


def test_the_first_reason_to_stop_stays(desk: Any) -> None:
    attempt = desk.start()
    desk.store.request_cancel(attempt.run_id, reason="pbt")
    assert desk.store.request_cancel(attempt.run_id, reason="user").cancel_reason == "pbt"


@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.CANCELLED, Outcome.FAILED])
def test_cancelling_a_run_that_has_ended_is_refused(desk: Any, outcome: Outcome) -> None:
    attempt = desk.start()
    ended = desk.store.end(attempt.run_id, 1, outcome=outcome, result={}, failure=Failure.CODE)
    with pytest.raises(IllegalMoveError, match=f"is {ended.state} already"):
        desk.store.request_cancel(attempt.run_id)
    assert desk.store.run(attempt.run_id) == ended


def test_cancelling_a_run_that_does_not_exist_says_so(store: Store) -> None:
    with pytest.raises(RunNotFoundError, match="no run 5"):
        store.request_cancel(5)


def test_text_that_a_database_could_not_hold_is_made_plain(desk: Any) -> None:
    run = desk.submit(name="a\0b\ud800c", owner="née", spec={"text": "a\0\ud800"})
    assert run.name == "a\N{REPLACEMENT CHARACTER}b?c"
    assert desk.store.run(run.id).spec == {"text": "a\0\ud800"}


def child_of(desk: Any, **changes: Any) -> Callable[[int], NewRun]:
    """A run that is told its parent's number."""

    def make(parent: int) -> NewRun:
        new: NewRun = desk.new_run(spec={"initial": parent}, depends_on=(parent,), **changes)
        return new

    return make


def test_a_run_that_follows_another_learns_its_number(desk: Any) -> None:
    runs = desk.store.submit(
        [
            desk.new_run(name="first"),
            Following(0, child_of(desk, name="child")),
            desk.new_run(name="other"),
            Following(2, child_of(desk, name="of the other")),
            Following(1, child_of(desk, name="grandchild")),
        ]
    )
    ids = {run.name: run.id for run in runs}
    assert list(ids) == ["first", "child", "other", "of the other", "grandchild"]
    assert {run.name: run.depends_on for run in runs if run.depends_on} == {
        "child": (ids["first"],),
        "of the other": (ids["other"],),
        "grandchild": (ids["child"],),
    }
    assert runs[4].spec == {"initial": ids["child"]}


def test_a_fault_in_a_later_generation_leaves_nothing(desk: Any) -> None:
    with pytest.raises(SubmissionError, match="no run 98"):
        desk.store.submit([desk.new_run(), Following(0, lambda _: desk.new_run(depends_on=(98,)))])
    assert desk.store.runs() == []


def test_a_run_follows_only_one_that_stands_before_it(desk: Any) -> None:
    for parent in (0, 1, -1):
        with pytest.raises(ValueError, match="does not stand before it"):
            desk.store.submit([Following(parent, child_of(desk)), desk.new_run()])
    assert desk.store.runs() == []


def test_keys_find_a_run_and_the_one_that_follows_it(desk: Any) -> None:
    family = [desk.new_run(key="p"), Following(0, child_of(desk, key="c"))]
    first = desk.store.submit(family)
    assert desk.store.submit(family) == first
    assert len(desk.store.runs()) == 2


def test_what_took_up_a_run_is_found(desk: Any) -> None:
    first, _ = desk.submit(), desk.submit()
    desk.store.request_cancel(first.id)
    up = desk.submit(retry_of=first.id)
    assert desk.store.runs(Filter(retry_of=first.id)) == [up]
    assert desk.store.runs(Filter(retry_of=up.id)) == []
