"""The one seam at which errors of SQLAlchemy and of the drivers become ours."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from convoy.errors import StoreAwayError, StoreError
from convoy.store.address import Address

_TRY_INIT = "run `platform init` to make one"

_SQLITE: dict[str, tuple[type[StoreError], str]] = {
    "SQLITE_BUSY": (
        StoreAwayError,
        "is locked by another process for longer than {timeout_s:g} s; "
        "try again, or look with `lsof {file}` who holds it",
    ),
    "SQLITE_LOCKED": (StoreAwayError, "is locked by another connection; try again"),
    "SQLITE_READONLY": (
        StoreError,
        "is read-only; make the file and its folder writable (SQLite writes its log beside it), "
        "or set CONVOY_STORE_URL to another place",
    ),
    "SQLITE_PERM": (StoreError, "may not be opened; make the file and its folder writable"),
    "SQLITE_CANTOPEN": (
        StoreError,
        "cannot be opened; see that its folder exists and that you may write both",
    ),
    "SQLITE_NOTADB": (
        StoreError,
        "is not a database file; move it away and run `platform init`, or set CONVOY_STORE_URL",
    ),
    "SQLITE_CORRUPT": (
        StoreError,
        "is damaged; look with `sqlite3 {file} 'pragma integrity_check'` and restore a copy",
    ),
    "SQLITE_FULL": (StoreError, "cannot grow: the disk is full; free some space and try again"),
    "SQLITE_IOERR": (StoreAwayError, "cannot be read or written just now (input/output error)"),
}

_POSTGRESQL: tuple[tuple[str, type[StoreError], str], ...] = (
    ("3D000", StoreError, "has no such database; make it with `createdb`, then `platform init`"),
    ("28", StoreError, "refuses this user or password; look at CONVOY_STORE_URL"),
    ("42501", StoreError, "does not give this user the rights that are needed"),
    ("42P01", StoreError, f"holds no Convoy store; {_TRY_INIT}"),
    ("25006", StoreError, "is read-only (a standby?); use the primary's address"),
    ("53100", StoreError, "has no disk space left; free some and try again"),
    ("55P03", StoreAwayError, "did not give a lock within {timeout_s:g} s; try again"),
    ("57014", StoreAwayError, "cancelled the query; try again"),
    ("08", StoreAwayError, "lost the connection; try again"),
    ("40", StoreAwayError, "took back the transaction because of another one; try again"),
    ("53", StoreAwayError, "has no resources left just now; try again"),
    ("57P", StoreAwayError, "is going down or coming up; try again"),
    ("58", StoreAwayError, "cannot read or write its files just now"),
)

_CONNECTING: tuple[tuple[str, str], ...] = (
    ("authentication failed", "28P01"),
    ("no password supplied", "28P01"),
    ("no pg_hba.conf entry", "28000"),
    ('" does not exist', "3D000"),
)
"""While connecting the driver has no SQLSTATE to give, only the server's words."""


def translate(error: SQLAlchemyError, address: Address, *, timeout_s: float) -> StoreError:
    """Return our error for one of SQLAlchemy's: what was found, and what would do.

    Args:
        error: What SQLAlchemy raised, with the driver's own inside.
        address: The store that was asked.
        timeout_s: How long locks and connections were waited for.
    """
    kind, text = _judge(error)
    filled = text.format(timeout_s=timeout_s, file=address.file)
    return kind(f"the store {address.shown} {filled}{_evidence(error)}")


def is_duplicate(error: BaseException | None) -> bool:
    """Tell whether a row was refused because another one has its key."""
    found = str(getattr(error, "orig", "")).lower()
    return isinstance(error, IntegrityError) and "unique" in found


def _judge(error: SQLAlchemyError) -> tuple[type[StoreError], str]:
    if isinstance(error, PoolTimeoutError):
        return StoreAwayError, "has all its connections in use here; try again"
    if not isinstance(error, DBAPIError):
        return StoreError, "cannot be used as asked"
    name = getattr(error.orig, "sqlite_errorname", None)
    if name is not None:
        return _judge_sqlite(name, str(error.orig))
    return _judge_postgresql(error)


def _judge_sqlite(name: str, text: str) -> tuple[type[StoreError], str]:
    if text.startswith("no such table"):
        return StoreError, f"holds no Convoy store; {_TRY_INIT}"
    family = "_".join(name.split("_")[:2])  # SQLITE_READONLY_DBMOVED -> SQLITE_READONLY
    return _SQLITE.get(family, (StoreError, "cannot do what was asked"))


def _judge_postgresql(error: DBAPIError) -> tuple[type[StoreError], str]:
    text = str(error.orig)
    code = getattr(error.orig, "sqlstate", None) or next(
        (code for words, code in _CONNECTING if words in text), ""
    )
    for prefix, kind, message in _POSTGRESQL:
        if code.startswith(prefix):
            return kind, message
    if error.connection_invalidated or type(error.orig).__name__.endswith("OperationalError"):
        return StoreAwayError, "does not answer; see that it runs and can be reached from here"
    if type(error.orig).__name__.endswith("ConnectionTimeout"):
        return StoreAwayError, "did not answer within {timeout_s:g} s"
    return StoreError, "cannot do what was asked"


def _evidence(error: SQLAlchemyError) -> str:
    first = next(iter(str(getattr(error, "orig", None) or error).strip().splitlines()), "")
    return f" ({first})" if first else ""
