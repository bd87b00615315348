"""The real command over a real store in a folder of the test's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from convoy.cli import app
from convoy.records import Run
from convoy.states import Failure, Outcome
from convoy.store import Store

LEASE_S = 3600.0


@dataclass(frozen=True)
class Answer:
    """What a call of the command came to."""

    status: int
    out: str
    err: str

    @property
    def whole(self) -> str:
        return self.out + self.err

    def json(self) -> Any:
        return json.loads(self.out)


class Command:
    """Calls ``platform`` in this process, or in one of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    @property
    def url(self) -> str:
        return f"sqlite:///{self.home / 'store.db'}"

    def __call__(self, *words: str, **environment: str) -> Answer:
        result = CliRunner().invoke(app, list(words), env=self._environment(environment))
        return Answer(result.exit_code, result.stdout, result.stderr)

    def apart(self, *words: str, **environment: str) -> Answer:
        done = subprocess.run(
            [sys.executable, "-m", "convoy", *words],
            env={**os.environ, **self._environment(environment)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        return {"CONVOY_HOME": str(self.home), "CONVOY_OWNER": "ada", **more}


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store file without runs, to be copied: making one takes a second."""
    file = tmp_path_factory.mktemp("empty") / "store.db"
    Store.create(f"sqlite:///{file}").close()
    return file


@pytest.fixture
def home(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with an empty store; the working folder is the one above it."""
    folder = tmp_path / ".convoy"
    folder.mkdir()
    shutil.copy(empty_store, folder)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def command(home: Path) -> Command:
    return Command(home)


class Attempts:
    """Brings runs of a home's store to their end, as an attempt would."""

    def __init__(self, url: str) -> None:
        self._url = url

    def begin(self, run_id: int) -> int:
        with Store.open(self._url) as store:
            term = store.lead("desk", host="here", pid=1, capacity={}, lease_s=LEASE_S)
            assert term is not None
            attempt = store.claim(run_id, dispatcher="desk", term=term, deadline_s=LEASE_S)
            assert attempt is not None
            store.begin(run_id, attempt.number, node="n1", pid=7, environment={}, lease_s=LEASE_S)
            return attempt.number

    def log(self, run_id: int, number: int, text: str, *, rank: int = 0) -> None:
        with Store.open(self._url) as store:
            store.append_log(run_id, number, rank=rank, text=text)

    def succeed(self, run_id: int, result: Mapping[str, Any]) -> Run:
        number = self.begin(run_id)
        with Store.open(self._url) as store:
            return store.end(run_id, number, outcome=Outcome.SUCCEEDED, result=result)

    def fail(self, run_id: int) -> Run:
        number = self.begin(run_id)
        with Store.open(self._url) as store:
            return store.end(
                run_id,
                number,
                outcome=Outcome.FAILED,
                failure=Failure.CODE,
                error="ZeroDivisionError: division by zero",
            )


@pytest.fixture
def attempts(command: Command) -> Attempts:
    return Attempts(command.url)


def classified(top1_pct: float, **facts: Any) -> dict[str, Any]:
    """The result of a finished training run."""
    plain = {
        "task": "classify",
        "dataset": "digits",
        "dataset_fingerprint": "da8de63063323fb6",
        "split": "val",
        "recipe": "digits_quick",
        "recipe_hash": "3b9a02e30aecff3b",
        "initial": "scratch",
        "train_samples_seen": 4096,
        "image_size": 32,
        "crop_pct": 1.0,
        "ema": False,
        "precision": "fp32",
        "params": 11_173_962,
        "madds": 555_422_720,
        "madds_assembly": 0,
        "classes": 10,
        "val_images": 359,
    }
    return {"scores": {"top1_pct": top1_pct}, "facts": {**plain, **facts}, "rows": []}


@pytest.fixture
def result() -> Callable[..., dict[str, Any]]:
    return classified
