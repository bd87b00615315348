"""One store's connections: transactions, the clock, and the seam where errors become ours."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Self

from sqlalchemy import Connection, Engine, create_engine, event, select
from sqlalchemy.exc import SQLAlchemyError

from convoy.columns import clock
from convoy.errors import StoreAwayError
from convoy.store.address import Address
from convoy.store.fault import translate

_WRITES = "convoy_writes"
"""Execution option of a connection that will write."""


class Database:
    """Connections to one store, for any number of threads; base of what `Store` offers.

    Losing a connection is ordinary: the call in which it happens raises `StoreAwayError`, the next
    one connects anew. Every public method of a subclass is one transaction.
    """

    def __init__(self, address: Address, *, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._engine = _engine(address, timeout_s=timeout_s)
        self._writer = self._engine.execution_options(**{_WRITES: True})
        self._was_away = False
        self._codes: dict[str, dict[str, Any]] = {}

    def close(self) -> None:
        """Close every connection; the store may be opened again."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close every connection."""
        self.close()

    def now(self) -> datetime:
        """Return the database's clock, UTC."""
        with self._reading() as connection:
            return clock_of(connection)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._seam(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._seam(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def _seam(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            ours = translate(error, self._address, timeout_s=self._timeout_s)
            self._was_away = self._was_away or isinstance(ours, StoreAwayError)
            raise ours from error


def clock_of(connection: Connection) -> datetime:
    """Return the database's clock, UTC. After waiting for a lock, ask again."""
    return connection.execute(select(clock())).scalar_one()


def _engine(address: Address, *, timeout_s: float) -> Engine:
    return _sqlite(address, timeout_s) if address.file else _postgresql(address, timeout_s)


def _sqlite(address: Address, timeout_s: float) -> Engine:
    engine = create_engine(address.url, hide_parameters=True, connect_args={"timeout": timeout_s})

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _: object) -> None:
        connection.isolation_level = None  # the driver would begin by itself, and too late
        _write_ahead(connection, timeout_s)
        for pragma in ("synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred transaction that turns to writing fails at once when another one wrote since;
        # an immediate one waits its turn.
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _write_ahead(connection: sqlite3.Connection, timeout_s: float) -> None:
    # Two processes that turn the same new file to write-ahead logging would wait for each other:
    # SQLite then fails one at once, whatever its time limit, and the limit has to be kept here.
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _postgresql(address: Address, timeout_s: float) -> Engine:
    milliseconds = int(timeout_s * 1000)
    arguments: dict[str, Any] = {
        "connect_timeout": max(2, round(timeout_s)),
        "application_name": "convoy",
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        # A process that is frozen in the middle of a transaction must not hold its locks for ever.
        "options": f"-c lock_timeout={milliseconds} "
        f"-c idle_in_transaction_session_timeout={2 * milliseconds}",
    }
    return create_engine(
        address.url,
        hide_parameters=True,
        pool_pre_ping=True,
        pool_size=1,  # hundreds of attempts each keep one; more are opened while they are needed
        max_overflow=14,
        pool_timeout=timeout_s,
        connect_args={key: arguments[key] for key in arguments.keys() - address.url.query.keys()},
    )
