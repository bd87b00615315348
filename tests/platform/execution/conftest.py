"""What tests of execution share: a kind made for drills, a real store, a desk to submit at."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import jobs
from convoy.launchers import Order
from convoy.records import NewRun, Run
from convoy.settings import Settings
from convoy.store import Store
from jobs.job import Resources, kinds, read_spec
from tests.platform.execution.platform_home import Platform

KINDS = Path(__file__).parent / "kinds"


@pytest.fixture
def store_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A new, empty store on SQLite; that the store is alike on PostgreSQL, its own tests hold."""
    shutil.copy(sqlite_template, tmp_path / "store.db")
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def drills(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the kind `drill` known."""
    monkeypatch.setattr(jobs, "__path__", [*jobs.__path__, str(KINDS)])
    kinds.cache_clear()
    yield
    kinds.cache_clear()
    for name in [name for name in sys.modules if name.startswith("jobs.drill")]:
        del sys.modules[name]
    if hasattr(jobs, "drill"):
        del jobs.drill


@pytest.fixture
def settings(tmp_path: Path, store_url: str) -> Settings:
    home = tmp_path / "home"
    plain = Settings(home=home, store_url=store_url, owner="ada", lease_s=10.0, poll_s=0.05)
    return plain.resolved()


class Front:
    """Submits drills and claims them, as command and dispatcher do."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.settings = settings

    def submit(self, *, resources: Resources | None = None, **changes: Any) -> Run:
        new = {name: changes.pop(name) for name in ("depends_on", "retry_of") if name in changes}
        spec = read_spec("drill", changes)
        run = NewRun(
            kind="drill",
            spec=spec.model_dump(mode="json"),
            spec_hash=spec.digest(),
            resources=resources or Resources(),
            owner="ada",
            **new,
        )
        return self.store.submit([run])[0]

    def claim(self, run: Run) -> Order:
        term = self.store.lead("front", host="here", pid=1, capacity={}, lease_s=600.0)
        assert term is not None
        attempt = self.store.claim(run.id, dispatcher="front", term=term, deadline_s=600.0)
        assert attempt is not None
        return Order(
            run_id=run.id,
            number=attempt.number,
            resources=run.resources,
            store_url=self.settings.store_url,
            storage_url=self.settings.storage_url,
            cache=str(self.settings.cache),
            lease_s=self.settings.lease_s,
            keep_checkpoints=self.settings.keep_checkpoints,
        )

    def begin(self, run: Run, *, environment: dict[str, Any] | None = None) -> Run:
        order = self.claim(run)
        return self.store.begin(
            run.id, order.number, node="n1", pid=1, environment=environment or {}, lease_s=600.0
        )

    def log(self, run: Run) -> str:
        return "".join(piece.text for piece in self.store.log(run.id))


@pytest.fixture
def front(store: Store, settings: Settings, drills: None) -> Front:
    return Front(store, settings)


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Waits for a condition; fails when it does not come true in time."""

    def wait(condition: Callable[[], bool], *, timeout_s: float) -> None:
        until_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < until_s, f"not within {timeout_s:g} s"
            time.sleep(0.05)

    return wait


@pytest.fixture
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    home = Path(tempfile.mkdtemp(prefix="cv", dir="/tmp"))  # short: Ray puts sockets below it
    made = Platform(home, tmp_path_factory.getbasetemp() / "shared-cache")
    yield made
    made.close()
    shutil.rmtree(home, ignore_errors=True)
