from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from convoy import migrations
from convoy.errors import StoreVersionError
from convoy.models import metadata
from convoy.store import Store
from convoy.store.address import read_address
from convoy.store.database import Database

LATER = """
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"


def upgrade() -> None:
    op.add_column("runs", sa.Column("mood", sa.Text(), server_default="calm", nullable=False))
"""


def test_the_migrations_make_the_tables_that_the_code_knows(store: Store) -> None:
    with store._reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_foreign_keys_and_unique_columns_are_there(store: Store) -> None:
    from sqlalchemy import inspect

    with store._reading() as connection:
        for table in metadata.sorted_tables:
            found = inspect(connection).get_foreign_keys(table.name)
            expected = {key.parent.name for key in table.foreign_keys}
            assert {key["constrained_columns"][0] for key in found} == expected, table.name
        unique = inspect(connection).get_unique_constraints("runs")
    assert [one["column_names"] for one in unique] == [["key"]]


@pytest.mark.parametrize("revision", migrations.revisions())
def test_a_store_of_any_earlier_revision_is_brought_up_to_date(
    empty_url: str, revision: str
) -> None:
    address = read_address(empty_url)
    if address.file:
        address.file.parent.mkdir()
    with Database(address, timeout_s=5) as database, database._writing() as connection:
        migrations.upgrade(connection, revision)
    with Store.create(empty_url) as store:
        context_of = MigrationContext.configure
        with store._reading() as connection:
            assert compare_metadata(context_of(connection), metadata) == []
        assert store.lead("a", host="h", pid=1, capacity={}, lease_s=9) == 1


def test_an_upgrade_keeps_what_is_there(
    own_url: str, new_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(own_url) as store:
        name = store.id
        [run] = store.submit([new_run(key="k")])
    before = migrations.revisions()[-1]
    revision = f"{int(before) + 1:04}"
    shutil.copytree(migrations.FOLDER, tmp_path / "migrations")
    later = tmp_path / "migrations" / "versions" / f"r{revision}_mood.py"
    later.write_text(LATER.format(revision=revision, before=before))
    monkeypatch.setattr(migrations, "FOLDER", tmp_path / "migrations")
    with pytest.raises(StoreVersionError, match=f"older version .revision {before}.*{revision}"):
        Store.open(own_url)
    with Store.create(own_url) as store:
        assert store.id == name
        with store._reading() as connection:
            moods = connection.exec_driver_sql("SELECT id, mood FROM runs").all()
    assert [tuple(row) for row in moods] == [(run.id, "calm")]
    monkeypatch.undo()
    with pytest.raises(StoreVersionError, match="newer version"):
        Store.open(own_url)


def test_an_upgrade_that_fails_changes_nothing(
    own_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = migrations.revisions()[-1]
    revision = f"{int(before) + 1:04}"
    shutil.copytree(migrations.FOLDER, tmp_path / "migrations")
    later = tmp_path / "migrations" / "versions" / f"r{revision}_mood.py"
    broken = LATER.format(revision=revision, before=before) + "    raise RuntimeError('stop')\n"
    later.write_text(broken)
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "FOLDER", tmp_path / "migrations")
        with pytest.raises(RuntimeError, match="stop"):
            Store.create(own_url)
    with Store.open(own_url) as store, store._reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_history_of_revisions_has_one_head(store: Store) -> None:
    from alembic.script import ScriptDirectory

    with store._reading() as connection:
        scripts = ScriptDirectory.from_config(migrations.config(connection))
        assert scripts.get_heads() == [migrations.revisions()[-1]]
        command.check(migrations.config(connection))
