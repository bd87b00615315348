"""Run by Alembic; the connection is handed in by `convoy.migrations.config`."""

from __future__ import annotations

from alembic import context

from convoy.models import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
context.run_migrations()
