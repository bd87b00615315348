"""Migrations of the store's tables.

Each file ``versions/rNNNN_<what>.py`` is one revision, numbered in order; the last is the head.
Asking which there are needs no Alembic, so that opening a store stays cheap; `upgrade` imports it.
Only the owner of the schema runs these; see `convoy.models` for the rights of everybody else.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

FOLDER = Path(__file__).parent


def revisions() -> list[str]:
    """Return the known revisions, oldest first."""
    return sorted(file.stem[1:5] for file in (FOLDER / "versions").glob("r[0-9]*.py"))


def config(connection: Connection) -> Config:
    """Return an Alembic configuration that works on this connection, inside its transaction."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", FOLDER.as_posix())
    made.attributes["connection"] = connection
    return made


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the tables to a revision, inside the caller's transaction."""
    from alembic import command

    command.upgrade(config(connection), revision)
