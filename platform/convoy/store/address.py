"""Where a store is: its URL read, checked, and shown without its password."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from convoy.errors import StoreError

_SECRET = {"password", "sslpassword"}


@dataclass(frozen=True)
class Address:
    """A store's place.

    Attributes:
        url: For SQLAlchemy, driver included.
        file: The database file of SQLite; None for PostgreSQL.
        shown: What messages call it; holds no password.
    """

    url: URL
    file: Path | None
    shown: str


def read_address(text: str) -> Address:
    """Read a URL.

    Raises:
        StoreError: It is no URL, or not of a database that can be used.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise StoreError(
            "the store's URL cannot be read; write sqlite:////folder/store.db "
            "or postgresql://user:password@host/database"
        ) from None
    backend = url.drivername.partition("+")[0]
    if backend == "sqlite":
        return _sqlite(url)
    if backend in {"postgresql", "postgres"}:
        public = url.difference_update_query(_SECRET)
        return Address(url.set(drivername="postgresql+psycopg"), None, _shown(public))
    raise StoreError(
        f"a store cannot be kept in {url.drivername!r}; use sqlite:////folder/store.db "
        "or postgresql://user:password@host/database"
    )


def _sqlite(url: URL) -> Address:
    database = url.database or ""
    if database in {"", ":memory:"} or database.startswith("file:") or url.query:
        raise StoreError(
            f"{_shown(url)} is not a plain file; command, dispatcher and attempts are separate "
            "processes and must share one: write sqlite:////folder/store.db"
        )
    file = Path(database).expanduser().absolute()
    return Address(url.set(drivername="sqlite", database=str(file)), file, f"sqlite:///{file}")


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=True)
