from __future__ import annotations

import itertools
from typing import Any

import pytest

from convoy.errors import IllegalMoveError, RunNotFoundError, SupersededError
from convoy.records import Run
from convoy.states import NEXT, Failure, Outcome, RunState, sources
from convoy.store.database import clock_of
from convoy.store.move import lock_run, move


def brought_to(desk: Any, state: RunState) -> Run:
    """A new run in a state, by what everybody may call."""
    run: Run = desk.submit()
    match state:
        case RunState.RUNNING:
            desk.start(run.id)
        case RunState.SUCCEEDED:
            desk.start(run.id)
            desk.store.end(run.id, 1, outcome=Outcome.SUCCEEDED, result={"scores": {}})
        case RunState.FAILED:
            desk.start(run.id)
            desk.store.end(run.id, 1, outcome=Outcome.FAILED, failure=Failure.CODE)
        case RunState.CANCELLED:
            desk.store.request_cancel(run.id)
    found: Run = desk.store.run(run.id)
    assert found.state is state
    return found


def test_the_table_covers_every_state_and_ended_ones_lead_nowhere() -> None:
    assert set(NEXT) == set(RunState)
    assert {state for state in RunState if state.is_final} == {
        RunState.SUCCEEDED,
        RunState.FAILED,
        RunState.CANCELLED,
    }


def test_sources_is_the_table_read_backwards() -> None:
    pairs = {(source, target) for target in RunState for source in sources(target)}
    assert pairs == {(source, target) for source in NEXT for target in NEXT[source]}


@pytest.mark.parametrize(("source", "target"), list(itertools.product(RunState, RunState)), ids=str)
def test_a_run_moves_exactly_as_the_table_says(
    long_desk: Any, source: RunState, target: RunState
) -> None:
    store = long_desk.store
    run = brought_to(long_desk, source)
    before = store.history(run.id)

    def go() -> None:
        with store._writing() as connection:
            row = lock_run(connection, run.id)
            move(connection, row, target, at=clock_of(connection), reason="a test")

    if target in NEXT[source]:
        go()
        assert store.run(run.id).state is target
        *earlier, line = store.history(run.id)
        assert earlier == before
        assert (line.source, line.target, line.reason) == (source, target, "a test")
    else:
        with pytest.raises(IllegalMoveError, match=f"run {run.id} is {source}"):
            go()
        assert store.run(run.id) == run
        assert store.history(run.id) == before


def test_a_move_that_names_another_attempt_is_superseded(desk: Any) -> None:
    attempt = desk.start()
    with (
        pytest.raises(SupersededError, match="attempt 2"),
        desk.store._writing() as connection,
    ):
        move(
            connection,
            lock_run(connection, attempt.run_id),
            RunState.SUCCEEDED,
            at=clock_of(connection),
            reason="",
            number=2,
        )
    assert desk.store.run(attempt.run_id).state is RunState.RUNNING


def test_a_run_that_does_not_exist_does_not_move(desk: Any) -> None:
    with pytest.raises(RunNotFoundError, match="no run 77"), desk.store._writing() as connection:
        lock_run(connection, 77)
