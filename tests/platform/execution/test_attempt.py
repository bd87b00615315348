"""An attempt in this process and in one of its own, from its begin to its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backbones.errors import BackboneError
from convoy.errors import (
    LaunchError,
    StorageError,
    StoreAwayError,
    SupersededError,
    WorkerFailedError,
)
from convoy.execution import attempt as attempts
from convoy.execution.attempt import execute
from convoy.execution.failures import classify, explain
from convoy.states import Failure, Outcome, RunState
from convoy.store import Store
from jobs.errors import (
    DatasetError,
    DivergedError,
    InterruptedRunError,
    OutOfMemoryError,
    SpecError,
)
from jobs.job import Resources, Result

KINDS = Path(__file__).parent / "kinds"
ALONE = """
import sys
sys.path[:] = {path!r}
import jobs
jobs.__path__.append({kinds!r})
from convoy.execution.attempt import execute
from convoy.launchers import Order
from jobs.job import Resources
execute(Order(**{order!r}, resources=Resources()))
"""


def alone(order: Any) -> subprocess.Popen[bytes]:
    """Carry out an attempt in a process of its own."""
    values = {k: v for k, v in vars(order).items() if k != "resources"}
    code = ALONE.format(path=sys.path, kinds=str(KINDS), order=values)
    return subprocess.Popen([sys.executable, "-c", code])


def test_a_run_succeeds_and_all_of_it_is_recorded(front: Any, store: Store) -> None:
    run = front.submit(steps=4)
    execute(front.claim(run), own_process=False)
    done = store.run(run.id)
    assert done.state is RunState.SUCCEEDED
    assert done.result == {"scores": {"top1_pct": 50.0}, "facts": {"first": 0}, "rows": []}
    assert done.step == 4
    assert "checked\nstarts after step 0\n" in front.log(run)
    assert [one.step for one in store.checkpoints(run.id)] == [3, 4]
    assert [one.name for one in store.artifacts(run.id)] == ["report.txt"]
    environment = store.attempts(run.id)[0].environment
    assert environment["packages"]["convoy"]
    assert environment["cpu"]


def test_the_output_goes_both_to_the_log_and_to_the_terminal(
    front: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(front.claim(front.submit(steps=1)), own_process=False)
    assert "starts after step 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("mishap", "failure", "words"),
    [
        ("data", Failure.DATA, "put them back"),
        ("diverge", Failure.DIVERGED, "train_loss is nan"),
        ("memory", Failure.HOST_MEMORY, "MemoryError"),
        ("bug", Failure.CODE, "ZeroDivisionError: a bug"),
    ],
)
def test_a_failure_is_recorded_with_its_class_and_its_evidence(
    front: Any, store: Store, mishap: str, failure: Failure, words: str
) -> None:
    run = front.submit(mishap=mishap)
    execute(front.claim(run), own_process=False)
    (attempt,) = store.attempts(run.id)
    assert (attempt.outcome, attempt.failure) == (Outcome.FAILED, failure)
    assert words in attempt.error
    assert words in front.log(run)


def test_a_fault_in_code_brings_its_traceback_and_an_error_of_ours_does_not(
    front: Any, store: Store
) -> None:
    bug, data = front.submit(mishap="bug"), front.submit(mishap="data")
    for run in (bug, data):
        execute(front.claim(run), own_process=False)
    assert "run.py" in store.attempts(bug.id)[0].error
    assert store.attempts(data.id)[0].error == "the drill's data are missing; put them back"
    assert "Traceback" not in front.log(data)


def test_the_second_attempt_goes_on_from_the_checkpoint(front: Any, store: Store) -> None:
    run = front.submit(mishap="terminate", steps=6, at_step=4)
    execute(front.claim(run), own_process=False)
    (first,) = store.attempts(run.id)
    assert first.failure is Failure.PREEMPTED
    assert "kept its checkpoint of step 4" in first.error
    store.release(run.id, 1)
    execute(front.claim(store.run(run.id)), own_process=False)
    done = store.run(run.id)
    assert done.state is RunState.SUCCEEDED
    assert done.result is not None
    assert done.result["facts"] == {"first": 4}
    assert [one.resumed_step for one in store.attempts(run.id)] == [None, 4]


def test_a_cancelled_run_saves_and_ends_as_cancelled(front: Any, store: Store) -> None:
    run = front.submit(steps=500, pause_s=0.05)
    order = front.claim(run)
    store.request_cancel(run.id, reason="user")
    execute(order, own_process=False)
    assert store.run(run.id).state is RunState.CANCELLED
    assert store.checkpoints(run.id)


def test_an_attempt_that_has_lost_its_place_does_nothing(front: Any, store: Store) -> None:
    run = front.submit()
    order = front.claim(run)
    store.begin(run.id, 1, node="other", pid=1, environment={}, lease_s=60.0)
    before = store.history(run.id)
    execute(order, own_process=False)
    assert store.history(run.id) == before
    assert front.log(run) == ""


def test_an_attempt_superseded_in_mid_run_stops_and_records_nothing_more(
    front: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = front.submit(steps=300, pause_s=0.05)
    real = attempts.work_alone

    def lose_place(*args: Any) -> Result:
        store.end(run.id, 1, outcome=Outcome.LOST, failure=Failure.NODE_LOST)
        return real(*args)

    monkeypatch.setattr(attempts, "work_alone", lose_place)
    execute(front.claim(run), own_process=False)
    (attempt,) = store.attempts(run.id)
    assert (attempt.outcome, attempt.failure) == (Outcome.LOST, Failure.NODE_LOST)
    assert store.checkpoints(run.id) == []


def test_several_workers_need_a_launcher_that_has_them(front: Any, store: Store) -> None:
    run = front.submit(resources=Resources(workers=2))
    execute(front.claim(run), own_process=False)
    assert store.attempts(run.id)[0].failure is Failure.PLACEMENT


def test_a_result_that_is_not_finite_is_a_failure(
    front: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = front.submit()
    monkeypatch.setattr(attempts, "work_alone", lambda *_: Result({"top1_pct": float("nan")}))
    execute(front.claim(run), own_process=False)
    assert store.attempts(run.id)[0].failure is Failure.DIVERGED


def test_a_process_that_is_killed_is_queued_again_at_once_with_its_last_words(
    front: Any, store: Store, wait_until: Any
) -> None:
    run = front.submit(mishap="kill", steps=5)
    process = alone(front.claim(run))
    assert process.wait(60) == -9
    wait_until(lambda: store.run(run.id).state is RunState.QUEUED, timeout_s=front.settings.lease_s)
    (attempt,) = store.attempts(run.id)
    assert (attempt.outcome, attempt.failure) == (Outcome.LOST, Failure.PROCESS_DIED)
    assert f"process {attempt.pid} died" in attempt.error
    assert "about to die" in front.log(run)
    store.release(run.id, 1)
    again = alone(front.claim(store.run(run.id)))
    assert again.wait(60) == 0
    done = store.run(run.id)
    assert done.result is not None
    assert done.result["facts"] == {"first": 2}
    assert [move.target for move in store.history(run.id)].count(RunState.SUCCEEDED) == 1


@pytest.mark.slow
def test_a_frozen_process_that_lost_its_place_is_ended_by_its_keeper(
    front: Any, store: Store, wait_until: Any
) -> None:
    run = front.submit(mishap="freeze", steps=5)
    process = alone(front.claim(run))
    wait_until(lambda: len(store.checkpoints(run.id)) == 2, timeout_s=60)
    first = store.attempts(run.id)[0].lease_until
    wait_until(lambda: store.attempts(run.id)[0].lease_until != first, timeout_s=60)  # kept alive
    store.end(run.id, 1, outcome=Outcome.LOST, failure=Failure.NO_PROGRESS)
    assert process.wait(60) == -9
    assert len(store.attempts(run.id)) == 1


class OutOfMemoryErrorOfTorch(RuntimeError):
    pass


OutOfMemoryErrorOfTorch.__name__ = "OutOfMemoryError"


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (SpecError("x"), Failure.SPEC),
        (BackboneError("x"), Failure.SPEC),
        (DatasetError("x"), Failure.DATA),
        (DivergedError("x"), Failure.DIVERGED),
        (InterruptedRunError("x"), Failure.PREEMPTED),
        (OutOfMemoryError("the GPU is full"), Failure.GPU_MEMORY),
        (OutOfMemoryError("the host is full"), Failure.HOST_MEMORY),
        (OutOfMemoryErrorOfTorch("CUDA out of memory. Tried"), Failure.GPU_MEMORY),
        (RuntimeError("CUDA error: out of memory"), Failure.GPU_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), Failure.HOST_MEMORY),
        (RuntimeError("worker (pid 3) is killed by signal: Killed."), Failure.HOST_MEMORY),
        (RuntimeError("PytorchStreamWriter failed writing file data/0"), Failure.STORAGE),
        (OSError(28, "No space left on device"), Failure.STORAGE),
        (StorageError("x"), Failure.STORAGE),
        (StoreAwayError("x"), Failure.STORE_AWAY),
        (LaunchError("x"), Failure.PLACEMENT),
        (WorkerFailedError("x", failure=Failure.DATA), Failure.DATA),
        (SupersededError("x"), Failure.CODE),
        (KeyError("x"), Failure.CODE),
    ],
)  # fmt: skip
def test_every_error_has_its_class(error: BaseException, failure: Failure) -> None:
    assert classify(error) is failure
    assert explain(error).text
