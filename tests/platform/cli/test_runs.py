from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from convoy.store import Store

QUICK = ("--set", "data=digits", "--set", "recipe=digits_quick")
CONV = "resnet18(stem=small)/conv"
ECA = "resnet18(stem=small)/eca"
Result = Callable[..., dict[str, Any]]


@pytest.fixture
def two(command: Any) -> Any:
    """Two queued runs."""
    assert command("submit", "classify", CONV, ECA, *QUICK).status == 0
    return command


def test_an_empty_store_says_so(command: Any) -> None:
    answer = command("runs")
    assert answer.out == "no runs\n"
    assert "platform submit" in answer.err


def test_runs_are_listed_newest_first_and_say_that_nobody_starts_them(two: Any) -> None:
    answer = two("runs")
    lines = [line.split() for line in answer.out.splitlines() if "resnet18" in line]
    assert [words[0] for words in lines] == ["2", "1"]
    assert "no dispatcher runs" in answer.err
    assert "2 queued" in answer.out


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (("--state", "cancelled"), [1]),
        (("--state", "queued", "--state", "cancelled"), [2, 1]),
        (("--text", "eca"), [2]),
        (("--kind", "benchmark"), []),
        (("--owner", "ada"), [2, 1]),
        (("--owner", "bob"), []),
        (("--limit", "1"), [2]),
    ],
)
def test_filters_narrow(two: Any, filters: tuple[str, ...], ids: list[int]) -> None:
    two("cancel", "1")
    assert [run["id"] for run in two("runs", "--json", *filters).json()] == ids


def test_quiet_lists_the_numbers_alone(two: Any) -> None:
    answer = two("runs", "--quiet")
    assert (answer.out, answer.err) == ("2\n1\n", "")


def test_an_unknown_state_is_a_usage_error(two: Any) -> None:
    answer = two("runs", "--state", "runing")
    assert answer.status == 2
    assert "running" in answer.err


def test_show_tells_why_a_run_waits_and_what_to_type(two: Any) -> None:
    answer = two("show", "1")
    assert "waits for a dispatcher" in answer.out
    assert "submitted by ada" in answer.out
    assert "platform wait 1" in answer.err


def test_show_tells_of_a_failure_and_how_to_go_on(two: Any, attempts: Any) -> None:
    attempts.fail(1)
    answer = two("show", "1")
    assert "ZeroDivisionError: division by zero" in answer.out
    assert "platform retry 1" in answer.err


def test_show_json_holds_the_run_and_what_belongs_to_it(
    two: Any, attempts: Any, result: Result
) -> None:
    attempts.succeed(1, result(90.0))
    found = two("show", "1", "--json").json()
    assert found["result"]["scores"] == {"top1_pct": 90.0}
    assert [attempt["outcome"] for attempt in found["attempts"]] == ["succeeded"]
    assert [move["target"] for move in found["history"] if move["target"]] == [
        "queued",
        "running",
        "succeeded",
    ]


def test_show_prints_the_result(two: Any, attempts: Any, result: Result) -> None:
    attempts.succeed(1, result(90.0))
    answer = two("show", "1")
    assert "top-1 90.00 %" in answer.out
    assert "dataset_fingerprint" in answer.out


def test_logs_come_with_the_worker_where_there_are_several(command: Any, attempts: Any) -> None:
    command(
        "submit",
        "classify",
        CONV,
        *QUICK,
        "--workers",
        "2",
        "--set",
        "recipe.batch_size=32",
        "--set",
        "recipe.micro_batch=16",
    )
    number = attempts.begin(1)
    attempts.log(1, number, "zero\n", rank=0)
    attempts.log(1, number, "one\n", rank=1)
    assert command("logs", "1").out == "[0] zero\n[1] one\n"
    assert command("logs", "1", "--rank", "1").out == "one\n"
    pieces = command("logs", "1", "--json").json()
    assert [(piece["rank"], piece["text"]) for piece in pieces] == [(0, "zero\n"), (1, "one\n")]


def test_a_run_without_a_log_says_so(two: Any) -> None:
    answer = two("logs", "1")
    assert (answer.status, answer.out) == (0, "")
    assert "nothing yet (queued)" in answer.err


def test_following_a_log_ends_with_the_run_and_misses_nothing(two: Any, attempts: Any) -> None:
    number = attempts.begin(1)
    attempts.log(1, number, "first\n")
    answers: list[Any] = []
    follower = threading.Thread(target=lambda: answers.append(two.apart("logs", "1", "-f")))
    follower.start()
    attempts.log(1, number, "second\n")
    with Store.open(two.url) as store:
        from convoy.states import Outcome

        store.append_log(1, number, rank=0, text="last\n")
        store.end(1, number, outcome=Outcome.SUCCEEDED, result={"scores": {}, "facts": {}})
    follower.join(timeout=60)
    assert answers[0].out == "first\nsecond\nlast\n"


def test_wait_is_well_when_all_succeeded(two: Any, attempts: Any, result: Result) -> None:
    attempts.succeed(1, result(90.0))
    attempts.succeed(2, result(91.0))
    answer = two("wait", "1", "2")
    assert answer.status == 0
    assert "platform leaderboard" in answer.err


def test_wait_fails_when_a_run_failed_or_was_cancelled(two: Any, attempts: Any) -> None:
    attempts.fail(1)
    two("cancel", "2")
    assert two("wait", "1", "--quiet").status == 1
    assert two("wait", "2", "--quiet").status == 1
    assert "platform show 1" in two("wait", "1").err


def test_wait_gives_up_when_time_is_up(two: Any) -> None:
    answer = two("wait", "1", "2", "--timeout", "0")
    assert answer.status == 1
    assert "time is up; still going: 1, 2" in answer.err


def test_submit_can_wait(command: Any, attempts: Any, result: Result) -> None:
    answers: list[Any] = []

    def submit() -> None:
        answers.append(command.apart("submit", "classify", CONV, *QUICK, "--wait", "--quiet"))

    waiter = threading.Thread(target=submit)
    waiter.start()
    with Store.open(command.url) as store:
        while not store.runs():
            waiter.join(0.05)
    attempts.succeed(1, result(90.0))
    waiter.join(timeout=60)
    assert (answers[0].status, answers[0].out) == (0, "1\n")


def test_cancel_ends_a_queued_run_and_asks_a_running_one(two: Any, attempts: Any) -> None:
    attempts.begin(1)
    answer = two("cancel", "1", "2")
    assert answer.status == 0
    assert answer.out == "run 1 was asked to stop; it saves first\nrun 2 is cancelled\n"
    runs = {run["id"]: run for run in two("runs", "--json").json()}
    assert (runs[1]["state"], runs[1]["cancel_reason"]) == ("running", "user")
    assert runs[2]["state"] == "cancelled"


def test_retry_makes_a_new_run_of_the_same_spec(two: Any, attempts: Any) -> None:
    attempts.fail(1)
    assert two("retry", "1", "--cpus", "2", "--quiet").out == "3\n"
    old, new = two("show", "1", "--json").json(), two("show", "3", "--json").json()
    assert new["retry_of"] == 1
    assert new["spec_hash"] == old["spec_hash"]
    assert new["resources"]["cpus"] == 2.0
    assert old["state"] == "failed"


def test_a_living_run_is_not_retried(two: Any) -> None:
    answer = two("retry", "1")
    assert answer.status == 1
    assert "run 1 is queued" in answer.err


def test_a_run_that_succeeded_is_not_retried(two: Any, attempts: Any, result: Result) -> None:
    attempts.succeed(1, result(90.0))
    answer = two("retry", "1")
    assert answer.status == 1
    assert "has succeeded" in answer.err


def test_the_leaderboard_comes_in_every_form(two: Any, attempts: Any, result: Result) -> None:
    attempts.succeed(1, result(80.0))
    attempts.succeed(2, result(95.0))
    table = two("leaderboard")
    lines = [line.split() for line in table.out.splitlines() if "resnet18" in line]
    assert [(words[0], words[1]) for words in lines] == [("1", ECA), ("2", CONV)]
    assert "digits (359 images of val)" in table.out
    assert [row["rank"] for row in two("leaderboard", "--json").json()] == [1, 2]
    assert two("leaderboard", "--csv").out.startswith("rank,backbone,")
    assert "| 1 | resnet18" in two("leaderboard", "--markdown").out
    assert r"\toprule" in two("leaderboard", "--latex").out


def test_rows_of_another_recipe_stand_apart(two: Any, attempts: Any, result: Result) -> None:
    attempts.succeed(1, result(90.0))
    attempts.succeed(2, result(99.0, recipe="long", recipe_hash="ffff"))
    out = two("leaderboard").out
    assert "Measured otherwise" in out
    assert "differs in recipe_hash 3b9a02e30aecff3b (above ffff)" in out
    assert len(two("leaderboard", "--recipe", "long", "--json").json()) == 1


def test_an_empty_leaderboard_says_so(command: Any) -> None:
    assert "nothing to rank yet" in command("leaderboard").out
    assert command("leaderboard", "--json").json() == []


def test_results_of_another_task_are_told_where_there_are_none_of_this(
    two: Any, attempts: Any, result: Result
) -> None:
    made = result(0.0, task="detect", detector="mask_rcnn")
    attempts.succeed(1, {**made, "scores": {"mask_ap_pct": 31.04, "box_ap_pct": 35.0}})
    answer = two("leaderboard")
    assert "nothing to rank yet" in answer.out
    assert "platform leaderboard --task detect" in answer.err
    table = two("leaderboard", "--task", "detect").out
    assert "detect · mask_rcnn · digits" in table
    assert "31.0" in table
    assert two("leaderboard", "--task", "detect", "--csv").out.count("\n") == 2


def test_an_unknown_order_is_refused(command: Any) -> None:
    answer = command("leaderboard", "--sort", "speed")
    assert answer.status == 1
    assert "known: rank, params, madds, latency, backbone" in answer.err
