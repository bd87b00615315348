from __future__ import annotations

import pytest

from convoy.policy import BUDGETS, LONGEST_PAUSE_S, Budget, Fault, Verdict, decide
from convoy.states import Failure

PARDONED = {Failure.NODE_LOST, Failure.PREEMPTED, Failure.PROCESS_DIED}


def test_every_class_of_failure_has_a_budget() -> None:
    assert set(BUDGETS) == set(Failure)


@pytest.mark.parametrize("failure", Failure)
def test_a_class_is_retried_as_often_as_its_budget_says_and_no_more(failure: Failure) -> None:
    earlier: list[Fault] = []
    for _ in range(BUDGETS[failure].retries):
        assert decide(Fault(failure), earlier).verdict is Verdict.RETRY
        earlier.append(Fault(failure))
    decision = decide(Fault(failure), earlier)
    assert decision.verdict is Verdict.FAIL
    assert decision.pause_s == 0


@pytest.mark.parametrize("failure", [Failure.SPEC, Failure.DATA, Failure.CODE, Failure.DIVERGED])
def test_what_would_fail_again_is_not_tried_again(failure: Failure) -> None:
    assert decide(Fault(failure)).verdict is Verdict.FAIL
    assert decide(Fault(failure)).reason == "not tried again"


def test_what_would_fail_again_is_tried_again_when_a_budget_says_so() -> None:
    budgets = {**BUDGETS, Failure.DIVERGED: Budget(1, 3.0, "the loss is not finite")}
    decision = decide(Fault(Failure.DIVERGED), budgets=budgets)
    assert (decision.verdict, decision.pause_s) == (Verdict.RETRY, 3.0)


def test_each_class_has_a_budget_of_its_own() -> None:
    spent = [Fault(Failure.HOST_MEMORY)] * 5 + [Fault(Failure.PREEMPTED)] * 20
    assert decide(Fault(Failure.HOST_MEMORY), spent).verdict is Verdict.FAIL
    assert decide(Fault(Failure.NODE_LOST), spent).verdict is Verdict.RETRY


def test_pauses_double_and_stay_below_ten_minutes() -> None:
    earlier: list[Fault] = []
    pauses = []
    for _ in range(BUDGETS[Failure.STORE_AWAY].retries):
        pauses.append(decide(Fault(Failure.STORE_AWAY), earlier).pause_s)
        earlier.append(Fault(Failure.STORE_AWAY))
    assert pauses[:4] == [5, 10, 20, 40]
    assert max(pauses) == LONGEST_PAUSE_S


@pytest.mark.parametrize("failure", sorted(PARDONED))
def test_an_attempt_that_got_further_does_not_use_up_the_budget(failure: Failure) -> None:
    earlier = [Fault(failure, saved_step=step) for step in range(1, 200)]
    decision = decide(Fault(failure, saved_step=200), earlier)
    assert (decision.verdict, decision.used) == (Verdict.RETRY, 0)
    assert decision.pause_s == BUDGETS[failure].pause_s


@pytest.mark.parametrize("failure", sorted(PARDONED))
def test_getting_no_further_than_the_attempt_before_uses_up_the_budget(failure: Failure) -> None:
    earlier = [Fault(failure, saved_step=100)] + [Fault(failure, saved_step=100)] * (
        BUDGETS[failure].retries
    )
    assert decide(Fault(failure, saved_step=100), earlier).verdict is Verdict.FAIL
    assert decide(Fault(failure, saved_step=None), earlier).verdict is Verdict.FAIL
    assert decide(Fault(failure, saved_step=101), earlier).verdict is Verdict.RETRY


@pytest.mark.parametrize("failure", sorted(set(Failure) - PARDONED))
def test_other_classes_use_up_their_budget_however_far_they_got(failure: Failure) -> None:
    earlier = [Fault(failure, saved_step=step) for step in range(BUDGETS[failure].retries)]
    assert decide(Fault(failure, saved_step=1000), earlier).verdict is Verdict.FAIL


def test_another_class_getting_further_raises_the_mark() -> None:
    earlier = [Fault(Failure.STORAGE, saved_step=50)]
    assert decide(Fault(Failure.NODE_LOST, saved_step=50), earlier).used == 1
    assert decide(Fault(Failure.NODE_LOST, saved_step=51), earlier).used == 0


def test_the_reason_holds_the_numbers() -> None:
    decision = decide(Fault(Failure.NODE_LOST), [Fault(Failure.NODE_LOST)])
    assert decision.reason == "retry 2 of 5, in 10 s"
    assert (decision.used, decision.retries) == (2, 5)
