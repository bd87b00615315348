"""Real training on real Ray, with SIGKILL to the dispatcher and to the attempt in mid-training."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from convoy.records import Run
from convoy.states import Failure, Outcome, RunState
from convoy.store import Store
from tests.platform.execution.platform_home import Platform

pytestmark = pytest.mark.ray

EPOCHS = 5
STEPS = EPOCHS * 44  # 1,438 images of digits in batches of 32, the last one dropped


def train(platform: Platform) -> Run:
    recipe = {"base": "digits_quick", "epochs": EPOCHS}
    return platform.submit("classify", {"backbone": "resnet20_cifar/conv", "recipe": recipe})


def assert_recorded_once(store: Store, run: Run) -> None:
    done = store.run(run.id)
    assert done.state is RunState.SUCCEEDED
    assert (done.step, done.total_steps) == (STEPS, STEPS)
    targets = [move.target for move in store.history(run.id)]
    assert targets.count(RunState.SUCCEEDED) == 1
    epochs = [point.epoch for point in store.series(run.id)["val_top1_pct"]]
    assert epochs == list(range(1, EPOCHS + 1))
    assert done.result is not None
    assert done.result["facts"]["train_samples_seen"] > 0


def assert_resumed(store: Store, run: Run) -> None:
    first, second = store.attempts(run.id)
    assert (first.outcome, first.failure) == (Outcome.LOST, Failure.PROCESS_DIED)
    assert second.resumed_step is not None
    assert second.resumed_step >= 44
    reasons = [move.reason for move in store.history(run.id)]
    assert any(reason.startswith("attempt 1: its process died") for reason in reasons)


def test_a_run_survives_the_death_of_its_dispatcher(
    platform: Platform, wait_until: Callable[..., None]
) -> None:
    store, run = platform.store, train(platform)
    dispatcher = platform.dispatch()
    wait_until(lambda: bool(store.checkpoints(run.id)), timeout_s=180)
    os.kill(dispatcher.pid, signal.SIGKILL)
    dispatcher.wait()
    attempt = store.attempts(run.id)[0]
    assert store.run(run.id).state is RunState.RUNNING
    platform.dispatch()
    wait_until(lambda: store.run(run.id).state.is_final, timeout_s=300)
    assert_recorded_once(store, run)
    assert_resumed(store, run)
    assert attempt.pid is not None
    assert not psutil.pid_exists(attempt.pid)


def test_a_run_survives_the_death_of_its_own_process(
    platform: Platform, wait_until: Callable[..., None]
) -> None:
    store, run = platform.store, train(platform)
    platform.dispatch()
    wait_until(lambda: bool(store.checkpoints(run.id)), timeout_s=180)
    pid: Any = store.attempts(run.id)[0].pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: store.attempts(run.id)[0].ended_at is not None, timeout_s=10)
    wait_until(lambda: store.run(run.id).state.is_final, timeout_s=300)
    assert_recorded_once(store, run)
    assert_resumed(store, run)
