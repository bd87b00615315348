"""Rows of the tables as the frozen records that the store hands out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from convoy.models import attempts, dependencies, runs
from convoy.records import Artifact, Attempt, Checkpoint, Json, Move, Run
from convoy.states import RunState
from jobs.job import Resources

AnyRow = Row[*tuple[Any, ...]]
"""A row of whatever columns."""

CodeOf = Callable[[Connection, set[str]], Mapping[str, Mapping[str, Json]]]
"""Finds code versions by their digest."""

_OWN = {"workers", "cpus", "gpus", "urgency", "code_digest"}
"""Columns that a record holds in another shape."""

RUN = select(runs, attempts.c.phase).outerjoin(
    attempts, (attempts.c.run_id == runs.c.id) & (attempts.c.number == runs.c.attempt)
)
"""A run with the phase of its present attempt; add conditions, then `read_runs`."""


def read_runs(connection: Connection, query: Select[Any], *, code_of: CodeOf) -> list[Run]:
    """Return the runs that a query made from `RUN` gives, in its order."""
    rows = connection.execute(query).all()
    needs = _needs(connection, [row.id for row in rows])
    codes = code_of(connection, {row.code_digest for row in rows})
    return [_run(row, depends_on=needs[row.id], code=codes[row.code_digest]) for row in rows]


def _needs(connection: Connection, ids: Sequence[int]) -> Mapping[int, tuple[int, ...]]:
    found: defaultdict[int, tuple[int, ...]] = defaultdict(tuple)
    query = (
        select(dependencies).where(dependencies.c.run_id.in_(ids)).order_by(dependencies.c.needs)
    )
    for row in connection.execute(query) if ids else ():
        found[row.run_id] += (row.needs,)
    return found


def _run(row: AnyRow, *, depends_on: tuple[int, ...], code: Mapping[str, Json]) -> Run:
    columns = {name: value for name, value in row._mapping.items() if name not in _OWN}
    return Run(
        **{
            **columns,
            "resources": resources_of(row),
            "priority": -row.urgency,
            "depends_on": depends_on,
            "code": code,
            "phase": None if row.state is RunState.QUEUED else row.phase,
        }
    )


def resources_of(row: AnyRow) -> Resources:
    """Return the resources of a row of `runs` or `attempts`."""
    return Resources(workers=row.workers, cpus=row.cpus, gpus=row.gpus)


def attempt_of(row: AnyRow) -> Attempt:
    """Return a row of `attempts` as a record."""
    columns = dict(row._mapping)
    for name in ("workers", "cpus", "gpus", "saved_step"):
        del columns[name]
    return Attempt(**columns, resources=resources_of(row))


def move_of(row: AnyRow) -> Move:
    """Return a row of `moves` as a record."""
    return Move(row.run_id, row.attempt, row.at, row.source, row.target, row.reason)


def checkpoint_of(row: AnyRow) -> Checkpoint:
    """Return a row of `checkpoints` as a record."""
    return Checkpoint(row.run_id, row.attempt, row.step, row.path, row.size_mib, row.created_at)


def artifact_of(row: AnyRow) -> Artifact:
    """Return a row of `artifacts` as a record."""
    return Artifact(row.run_id, row.attempt, row.name, row.path, row.size_mib)
