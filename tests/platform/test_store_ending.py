from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest

from convoy.errors import SupersededError
from convoy.policy import BUDGETS
from convoy.states import Failure, Outcome, Phase, RunState, Waiting
from convoy.store import Store

RESULT = {"scores": {"top1_pct": 97.5}, "facts": {"task": "classify"}, "rows": []}


def test_success_stores_the_result(desk: Any) -> None:
    attempt = desk.start()
    run = desk.store.end(attempt.run_id, 1, outcome=Outcome.SUCCEEDED, result=RESULT)
    assert (run.state, run.phase, run.result) == (RunState.SUCCEEDED, Phase.ENDED, RESULT)
    [ended] = desk.store.attempts(run.id)
    assert (ended.outcome, ended.failure, ended.ended_at) == (
        Outcome.SUCCEEDED,
        None,
        run.ended_at,
    )
    assert ended.released_at is None


def test_success_without_a_result_is_refused(desk: Any) -> None:
    attempt = desk.start()
    with pytest.raises(ValueError, match="result"):
        desk.store.end(attempt.run_id, 1, outcome=Outcome.SUCCEEDED)
    assert desk.store.run(attempt.run_id).state is RunState.RUNNING


def test_a_result_is_stored_only_once(store_url: str, desk: Any) -> None:
    for _ in range(5):
        run_id = desk.start().run_id
        barrier = Barrier(4)

        def end(top1: int, run_id: int = run_id, barrier: Barrier = barrier) -> int | None:
            with Store.open(store_url) as mine:
                barrier.wait(30)
                try:
                    scores = {"scores": {"top1_pct": top1}}
                    mine.end(run_id, 1, outcome=Outcome.SUCCEEDED, result=scores)
                except SupersededError:
                    return None
                return top1

        with ThreadPoolExecutor(4) as pool:
            [winner] = [top1 for top1 in pool.map(end, range(4)) if top1 is not None]
        assert desk.store.run(run_id).result == {"scores": {"top1_pct": winner}}
        targets = [line.target for line in desk.store.history(run_id)]
        assert targets.count(RunState.SUCCEEDED) == 1


def test_a_retry_rests_and_says_so(desk: Any) -> None:
    attempt = desk.start()
    run = desk.store.end(
        attempt.run_id, 1, outcome=Outcome.FAILED, failure=Failure.STORAGE, error="disk full"
    )
    assert (run.state, run.phase, run.waiting) == (RunState.QUEUED, None, Waiting.BACKOFF)
    assert (run.failure, run.failure_text, run.ended_at) == (None, "", None)
    [ended] = desk.store.attempts(run.id)
    assert run.not_before - ended.ended_at == timedelta(seconds=BUDGETS[Failure.STORAGE].pause_s)
    assert (ended.failure, ended.error) == (Failure.STORAGE, "disk full")
    reason = "attempt 1: files could not be written or read (retry 1 of 5, in 10 s)"
    assert run.waiting_detail == desk.store.history(run.id)[-1].reason == reason


def test_a_retried_run_is_claimed_anew(desk: Any) -> None:
    run_id = desk.start().run_id
    desk.store.end(run_id, 1, outcome=Outcome.LOST)
    assert desk.claim(run_id).number == 2
    run = desk.store.run(run_id)
    assert (run.attempt, run.not_before, run.waiting, run.waiting_detail) == (2, None, None, "")
    first, second = desk.store.attempts(run_id)
    assert (first.outcome, first.failure) == (Outcome.LOST, Failure.NODE_LOST)
    assert second.outcome is None
    assert run.started_at == first.created_at


def test_a_spent_budget_fails_the_run(desk: Any) -> None:
    run_id = desk.submit().id
    for number in range(1, BUDGETS[Failure.PROCESS_DIED].retries + 1):
        desk.start(run_id)
        run = desk.store.end(run_id, number, outcome=Outcome.LOST, failure=Failure.PROCESS_DIED)
        assert run.state is RunState.QUEUED
    number = desk.start(run_id).number
    run = desk.store.end(
        run_id, number, outcome=Outcome.LOST, failure=Failure.PROCESS_DIED, error="signal 11\n"
    )
    assert (run.state, run.failure) == (RunState.FAILED, Failure.PROCESS_DIED)
    assert run.failure_text == (
        "Attempt 4: its process died; all 3 retries are used.\n"
        "signal 11\n"
        "Nothing was kept: there is no checkpoint.\n"
        f"Next: `platform logs {run_id}` shows its log, `platform retry {run_id}` starts it anew."
    )


def test_an_attempt_that_saved_further_does_not_use_up_the_budget(desk: Any) -> None:
    run_id = desk.submit().id
    for number in range(1, 3 * BUDGETS[Failure.NODE_LOST].retries):
        desk.start(run_id)
        path = f"{number}/checkpoint"
        desk.store.add_checkpoint(run_id, number, step=number, path=path, size_mib=1.0)
        desk.store.drop_checkpoint(run_id, path, number=number)
        run = desk.store.end(run_id, number, outcome=Outcome.LOST)
        assert run.state is RunState.QUEUED


def test_a_failure_text_says_what_was_kept(desk: Any) -> None:
    run_id = desk.start().run_id
    desk.store.add_checkpoint(run_id, 1, step=40, path="c", size_mib=1.0)
    run = desk.store.end(
        run_id, 1, outcome=Outcome.FAILED, failure=Failure.DIVERGED, error="loss is nan\0 at 41"
    )
    assert run.failure_text == (
        "Attempt 1: the loss or a weight is not finite any more; not tried again.\n"
        "loss is nan\N{REPLACEMENT CHARACTER} at 41\n"
        "Kept: the checkpoint at step 40 of attempt 1.\n"
        f"Next: `platform logs {run_id}` shows its log, "
        f"`platform retry {run_id}` goes on from step 40."
    )


def test_a_failure_of_no_given_class_counts_as_the_codes(desk: Any) -> None:
    run = desk.store.end(desk.start().run_id, 1, outcome=Outcome.FAILED)
    assert run.failure is Failure.CODE


def test_an_attempt_that_was_cancelled_ends_its_run(desk: Any) -> None:
    run_id = desk.start().run_id
    desk.store.request_cancel(run_id)
    run = desk.store.end(run_id, 1, outcome=Outcome.CANCELLED)
    assert (run.state, run.result, run.failure) == (RunState.CANCELLED, None, None)
    assert desk.store.history(run_id)[-1].reason == "cancelled: user"


@pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.FAILED])
def test_a_run_that_was_asked_to_stop_is_not_tried_again(desk: Any, outcome: Outcome) -> None:
    run_id = desk.start().run_id
    desk.store.request_cancel(run_id)
    run = desk.store.end(run_id, 1, outcome=outcome, failure=Failure.NODE_LOST)
    assert run.state is RunState.CANCELLED
    assert desk.store.attempts(run_id)[0].failure is Failure.NODE_LOST
    assert "before it could stop by itself, the machine" in desk.store.history(run_id)[-1].reason


def test_a_run_that_succeeds_though_it_was_asked_to_stop_has_succeeded(desk: Any) -> None:
    run_id = desk.start().run_id
    desk.store.request_cancel(run_id)
    run = desk.store.end(run_id, 1, outcome=Outcome.SUCCEEDED, result=RESULT)
    assert (run.state, run.result) == (RunState.SUCCEEDED, RESULT)


def test_an_attempt_may_end_before_it_began(desk: Any) -> None:
    attempt = desk.claim(desk.submit().id)
    run = desk.store.end(
        attempt.run_id, 1, outcome=Outcome.LOST, failure=Failure.PLACEMENT, error="no room"
    )
    assert run.state is RunState.QUEUED
