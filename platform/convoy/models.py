"""Tables of the store.

Where a site gives the parts roles of their own in PostgreSQL, these rights are enough (a test runs
every part with them); ``platform init`` is run by the owner of the schema, and nobody else creates,
alters or drops anything::

    GRANT SELECT ON ALL TABLES IN SCHEMA public TO convoy_dashboard;

    GRANT SELECT ON ALL TABLES IN SCHEMA public TO convoy_attempt;
    GRANT UPDATE ON runs, attempts, artifacts TO convoy_attempt;
    GRANT INSERT ON moves, series_chunks, log_chunks, checkpoints, artifacts TO convoy_attempt;
    GRANT DELETE ON checkpoints TO convoy_attempt;
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO convoy_attempt;

    GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO convoy_dispatcher;
    GRANT DELETE ON dispatchers, checkpoints TO convoy_dispatcher;
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO convoy_dispatcher;

The command works with the dispatcher's. Rows of `runs` are never deleted.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

from convoy.columns import BIG, JsonText, UtcDateTime, member
from convoy.states import Failure, Outcome, Phase, RunState, Waiting

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

stores = Table(
    "stores",
    metadata,
    Column("id", Text, primary_key=True),
    Column("created_at", UtcDateTime, nullable=False),
    comment="One row: the name of this store, which is part of every actor's namespace.",
)

codes = Table(
    "codes",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    comment="Code versions, each stored once: a diff may be large and many runs share it.",
)

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("spec", JsonText, nullable=False),
    Column("spec_hash", Text, nullable=False),
    Column("workers", Integer, nullable=False),
    Column("cpus", Float, nullable=False),
    Column("gpus", Float, nullable=False),
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("backbone", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("recipe", Text, nullable=False),
    Column("study", Text, nullable=False),
    Column(
        "urgency", Integer, nullable=False
    ),  # -priority, so that one index gives the queue's order
    Column("key", Text, unique=True),
    Column("retry_of", ForeignKey("runs.id")),
    Column("code_digest", ForeignKey("codes.digest"), nullable=False),
    Column("state", member(RunState), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("not_before", UtcDateTime),
    Column("waiting", member(Waiting)),
    Column("waiting_detail", Text, nullable=False),
    Column("cancel_reason", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("total_steps", BigInteger, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("step_at", UtcDateTime),
    Column("eta_s", Float),
    Column("last", JsonText, nullable=False),
    Column("best", JsonText, nullable=False),
    Column("result", JsonText),
    Column("failure", member(Failure)),
    Column("failure_text", Text, nullable=False),
    Index(None, "state", "id"),
    Index(None, "state", "urgency", "id"),
    Index(None, "study", "id"),
    Index(None, "owner", "id"),
)

dependencies = Table(
    "dependencies",
    metadata,
    Column("run_id", ForeignKey("runs.id"), primary_key=True),
    Column("needs", ForeignKey("runs.id"), primary_key=True),
    Index(None, "needs"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("run_id", ForeignKey("runs.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("dispatcher", Text, nullable=False),
    Column("phase", member(Phase), nullable=False),
    Column("outcome", member(Outcome)),
    Column("failure", member(Failure)),
    Column("error", Text, nullable=False),
    Column("node", Text, nullable=False),
    Column("pid", Integer),
    Column("environment", JsonText, nullable=False),
    Column("workers", Integer, nullable=False),
    Column("cpus", Float, nullable=False),
    Column("gpus", Float, nullable=False),
    Column("resumed_step", BigInteger),
    Column("saved_step", BigInteger),  # of its newest checkpoint, which may since have been dropped
    Column("created_at", UtcDateTime, nullable=False),
    Column("began_at", UtcDateTime),
    Column("first_step_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("released_at", UtcDateTime),
    Column("lease_until", UtcDateTime),
    # Not a partial index: its dialect options make SQLAlchemy import PostgreSQL's drivers (25 ms).
    Index(None, "released_at", "run_id"),
)

moves = Table(
    "moves",
    metadata,
    Column("id", BIG, primary_key=True),
    Column("run_id", ForeignKey("runs.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("source", member(RunState)),
    Column("target", member(RunState)),
    Column("reason", Text, nullable=False),
    Index(None, "run_id", "id"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("id", BIG, primary_key=True),
    Column("run_id", ForeignKey("runs.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("path", Text, nullable=False),
    Column("size_mib", Float, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("run_id", "path"),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("run_id", ForeignKey("runs.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("path", Text, nullable=False),
    Column("size_mib", Float, nullable=False),
)

series_chunks = Table(
    "series_chunks",
    metadata,
    Column("id", BIG, primary_key=True),
    Column("run_id", ForeignKey("runs.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("first_step", BigInteger, nullable=False),
    Column("last_step", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index(None, "run_id", "id"),
)

log_chunks = Table(
    "log_chunks",
    metadata,
    Column("id", BIG, primary_key=True),
    Column("run_id", ForeignKey("runs.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("rank", Integer, nullable=False),
    Column("first_byte", BigInteger, nullable=False),
    Column("end_byte", BigInteger, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index(None, "run_id", "id"),
    UniqueConstraint("run_id", "attempt", "rank", "first_byte"),
)

dispatchers = Table(
    "dispatchers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("lease_until", UtcDateTime, nullable=False),
    Column("capacity", JsonText, nullable=False),
)

leaders = Table(
    "leaders",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("term", BigInteger, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("lease_until", UtcDateTime, nullable=False),
    Column("grace_until", UtcDateTime, nullable=False),
    comment="One row: who leads, in which term, and until when nothing may be reaped.",
)
