"""Real training on real Ray, with SIGKILL to the dispatcher and to the attempt in mid-training."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from convoy.records import NewRun, Run
from convoy.settings import Settings
from convoy.states import Failure, Outcome, RunState
from convoy.store import Store
from jobs.job import Resources, read_spec

pytestmark = pytest.mark.ray

EPOCHS = 5
STEPS = EPOCHS * 44  # 1,438 images of digits in batches of 32, the last one dropped


class Platform:
    """A home folder with a store, and dispatchers as processes of their own."""

    def __init__(self, home: Path, cache: Path) -> None:
        self.home = home
        self.settings = Settings(home=home, cache=cache).resolved()
        self.store = Store.create(self.settings.store_url)
        self.output = (home / "dispatcher.log").open("w")
        self.started: list[subprocess.Popen[bytes]] = []

    def dispatch(self) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "CONVOY_HOME": str(self.home),
            "CONVOY_CACHE": str(self.settings.cache),
        }
        command = [sys.executable, "-m", "convoy", "dispatch"]
        process = subprocess.Popen(command, env=environment, stdout=self.output, stderr=self.output)
        self.started.append(process)
        return process

    def train(self) -> Run:
        recipe = {"base": "digits_quick", "epochs": EPOCHS}
        spec = read_spec("classify", {"backbone": "resnet20_cifar/conv", "recipe": recipe})
        run = NewRun(
            kind="classify",
            spec=spec.model_dump(mode="json"),
            spec_hash=spec.digest(),
            resources=Resources(),
            owner="ada",
        )
        return self.store.submit([run])[0]

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.terminate()
                process.wait(60)
        self.store.close()
        self.output.close()


@pytest.fixture
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    home = Path(tempfile.mkdtemp(prefix="cv", dir="/tmp"))  # short: Ray puts sockets below it
    made = Platform(home, tmp_path_factory.getbasetemp() / "shared-cache")
    yield made
    made.close()
    shutil.rmtree(home, ignore_errors=True)


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
    store, run = platform.store, platform.train()
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
    store, run = platform.store, platform.train()
    platform.dispatch()
    wait_until(lambda: bool(store.checkpoints(run.id)), timeout_s=180)
    pid: Any = store.attempts(run.id)[0].pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: store.attempts(run.id)[0].ended_at is not None, timeout_s=10)
    wait_until(lambda: store.run(run.id).state.is_final, timeout_s=300)
    assert_recorded_once(store, run)
    assert_resumed(store, run)
