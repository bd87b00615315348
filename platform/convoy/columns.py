"""Types of columns that mean the same on SQLite and on PostgreSQL, and the database's clock."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Enum, Integer, Text, TypeDecorator
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: timezone-aware UTC in Python, on SQLite as well as on PostgreSQL."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn to UTC, since SQLite keeps the digits only."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Say that it is UTC (SQLite), or turn to UTC (PostgreSQL)."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class JsonText(TypeDecorator[Any]):
    """A JSON value as text.

    Not PostgreSQL's own JSON, which refuses NaN (a metric may be that) and NUL characters.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Write without spaces."""
        return None if value is None else json.dumps(value, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Read it back."""
        return None if value is None else json.loads(value)


class clock(FunctionElement[datetime]):
    """The database's clock now (not at the start of the transaction: that one may have waited)."""

    type = UtcDateTime()
    inherit_cache = True


@compiles(clock, "sqlite")
def _clock_of_sqlite(*_: object, **__: object) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


@compiles(clock, "postgresql")
def _clock_of_postgresql(*_: object, **__: object) -> str:
    return "clock_timestamp()"


def member(kind: type[StrEnum]) -> Enum:
    """Return a type for an enumeration: text without CHECK, so a new member is no migration."""
    return Enum(
        kind,
        native_enum=False,
        length=16,
        values_callable=lambda members: [member.value for member in members],
    )


BIG = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only in a column that is called INTEGER."""
