"""Opening and making a store."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, func, insert, inspect, select, text

from convoy.errors import StoreError, StoreVersionError
from convoy.migrations import revisions, upgrade
from convoy.models import leaders, stores
from convoy.store.address import Address, read_address
from convoy.store.attempt import AttemptWrites
from convoy.store.database import clock_of
from convoy.store.dispatch import Dispatch
from convoy.store.ending import Ending
from convoy.store.mount import mount_table, network_mount
from convoy.store.submission import Submission

TIMEOUT_S = 10.0
"""How long a lock or a connection is waited for.

With a lease of 20 s that is renewed every third of it, a wait that ends in time costs no attempt.
"""

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class Store(Submission, Dispatch, AttemptWrites, Ending):
    """Everything that parts of the platform tell each other, kept in SQLite or PostgreSQL.

    A context manager; safe for threads, not to be carried over a fork. Times are UTC by the
    database's clock. What may never change: a run that has ended, its result, its history.

    Attributes:
        id: Name of this store, unlike any other's.
    """

    id: str

    @classmethod
    def open(cls, url: str, *, timeout_s: float = TIMEOUT_S) -> Self:
        """Open an existing store.

        Args:
            url: ``sqlite:////folder/store.db`` or ``postgresql://user:password@host/database``.
            timeout_s: How long a lock or a connection is waited for.

        Raises:
            StoreError: There is none, it is read-only, no database, or on a network file system.
            StoreAwayError: It does not answer, or is locked for longer than `timeout_s`.
            StoreVersionError: It was written by another version.
        """
        address = _checked(url)
        if address.file and not address.file.exists():
            raise StoreError(
                f"there is no store at {address.shown}; run `platform init` to make one"
            )
        store = cls(address, timeout_s=timeout_s)
        try:
            with store._reading() as connection:
                _require_version(connection, address)
                store.id = connection.execute(select(stores.c.id)).scalar_one()
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def create(cls, url: str, *, timeout_s: float = TIMEOUT_S) -> Self:
        """Make the tables, or bring an older store up to date, and open it. Imports Alembic.

        Harmless on a store that is up to date, and when several processes do it at once.

        Args:
            url: As for `open`; the folder of a SQLite file is made.
            timeout_s: As for `open`.

        Raises:
            StoreError: As for `open`, but that it may be missing or older.
        """
        address = _checked(url)
        if address.file:
            _make_folder(address.file.parent, address)
        store = cls(address, timeout_s=timeout_s)
        try:
            with store._writing() as connection:
                if connection.dialect.name == "postgresql":
                    connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
                _require_not_newer(_revision(connection), address)
                upgrade(connection)
                store.id = _name(connection)
        except BaseException:
            store.close()
            raise
        return store


_LOCK = int.from_bytes(b"convoy")
"""Held by the one process that makes or upgrades the tables of a PostgreSQL database."""


def _checked(url: str) -> Address:
    address = read_address(url)
    found = network_mount(address.file, mount_table()) if address.file else None
    if found is not None:
        raise StoreError(
            f"{address.shown} lies on a network file system ({found.kind} at {found.point}), where "
            "SQLite's write-ahead log is not safe; put it on a local disk, "
            "or use PostgreSQL (CONVOY_STORE_URL=postgresql://...)"
        )
    return address


def _make_folder(folder: Path, address: Address) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the folder of {address.shown} cannot be made ({error.strerror}: {error.filename}); "
            "choose another one with CONVOY_HOME or CONVOY_STORE_URL"
        ) from error


def _revision(connection: Connection) -> str | None:
    """Return the revision of the tables, or None when there are none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    query = text("SELECT version_num FROM alembic_version")
    found = connection.execute(query).scalar_one_or_none()
    return None if found is None else str(found)


def _require_version(connection: Connection, address: Address) -> None:
    found = _revision(connection)
    if found is None:
        raise StoreError(f"{address.shown} holds no Convoy store; run `platform init` to make one")
    _require_not_newer(found, address)
    if found != revisions()[-1]:
        raise StoreVersionError(
            f"the store {address.shown} is of an older version (revision {found}, "
            f"this one needs {revisions()[-1]}); run `platform init`, which brings it up to date"
        )


def _require_not_newer(found: str | None, address: Address) -> None:
    if found is not None and found not in revisions():
        raise StoreVersionError(
            f"the store {address.shown} is of a newer version (revision {found}, "
            f"this one knows up to {revisions()[-1]}); update this installation"
        )


def _name(connection: Connection) -> str:
    """Return the store's name; a new store gets one, and its leader's row."""
    found = connection.execute(select(stores.c.id)).scalar_one_or_none()
    if found is not None:
        return str(found)
    made = uuid.uuid4().hex[:12]
    connection.execute(insert(stores).values(id=made, created_at=clock_of(connection)))
    nobody = {"id": 1, "name": "", "host": "", "pid": 0, "term": 0}
    never = dict.fromkeys(("seen_at", "lease_until", "grace_until"), _LONG_AGO)
    connection.execute(insert(leaders).values({**nobody, **never}))
    return made
