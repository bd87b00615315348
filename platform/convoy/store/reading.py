"""What anybody may ask of the store. Nothing here writes; listings touch no chunks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select

from convoy.errors import RunNotFoundError
from convoy.models import (
    artifacts,
    attempts,
    checkpoints,
    codes,
    dispatchers,
    leaders,
    log_chunks,
    moves,
    runs,
    series_chunks,
)
from convoy.records import (
    Artifact,
    Attempt,
    Checkpoint,
    Dispatcher,
    Filter,
    Json,
    LogPiece,
    Move,
    Point,
    Run,
)
from convoy.states import RunState
from convoy.store.batch import merge_points, unpack_json, unpack_text
from convoy.store.database import Database, clock_of
from convoy.store.row import RUN, artifact_of, attempt_of, checkpoint_of, move_of, read_runs

_EVERYTHING = Filter()
_PAGE = 1000


class Reading(Database):
    """Runs, attempts, history, curves, logs and dispatchers, as they are now."""

    def run(self, run_id: int) -> Run:
        """Return a run.

        Raises:
            RunNotFoundError: There is none of that number.
        """
        with self._reading() as connection:
            return self._run(connection, run_id)

    def runs(
        self, which: Filter = _EVERYTHING, *, limit: int = 100, before: int | None = None
    ) -> list[Run]:
        """Return runs, newest first.

        Args:
            which: What they must be like.
            limit: At most so many.
            before: Only runs older than this number; the last one's gives the next page.
        """
        query = RUN.where(*_conditions(which)).order_by(runs.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(runs.c.id < before)
        with self._reading() as connection:
            return self._runs(connection, query)

    def every(self, which: Filter = _EVERYTHING) -> Iterator[Run]:
        """Yield all runs, newest first, read a page at a time.

        Args:
            which: What they must be like.
        """
        before = None
        while found := self.runs(which, limit=_PAGE, before=before):
            yield from found
            before = found[-1].id

    def counts(self) -> Mapping[RunState, int]:
        """Return how many runs are in each state, zeros included."""
        query = select(runs.c.state, func.count().label("runs")).group_by(runs.c.state)
        with self._reading() as connection:
            found = {row.state: row.runs for row in connection.execute(query)}
        return {state: found.get(state, 0) for state in RunState}

    def attempts(self, run_id: int) -> list[Attempt]:
        """Return a run's attempts, oldest first."""
        query = select(attempts).where(attempts.c.run_id == run_id).order_by(attempts.c.number)
        return [attempt_of(row) for row in self._all(query)]

    def history(self, run_id: int) -> list[Move]:
        """Return a run's moves and notable events, oldest first."""
        query = select(moves).where(moves.c.run_id == run_id).order_by(moves.c.id)
        return [move_of(row) for row in self._all(query)]

    def series(self, run_id: int, names: Sequence[str] = ()) -> Mapping[str, list[Point]]:
        """Return the points of a run's series in order of step, nothing left out.

        Args:
            run_id: The run.
            names: Which series; empty: all.

        Returns:
            By series; where two attempts did the same step, the later attempt's point.
        """
        query = (
            select(series_chunks.c.body)
            .where(series_chunks.c.run_id == run_id)
            .order_by(series_chunks.c.attempt, series_chunks.c.id)
        )
        return merge_points((row.body for row in self._all(query)), names)

    def log(self, run_id: int, *, after: int = 0, limit: int = 1000) -> list[LogPiece]:
        """Return pieces of a run's log in the order in which they arrived.

        Args:
            run_id: The run.
            after: Cursor of the last piece that is known; 0 from the start. A piece never
                appears behind a cursor that was handed out.
            limit: At most so many pieces.
        """
        query = (
            select(log_chunks)
            .where(log_chunks.c.run_id == run_id, log_chunks.c.id > after)
            .order_by(log_chunks.c.id)
            .limit(limit)
        )
        return [
            LogPiece(row.id, row.attempt, row.rank, row.at, unpack_text(row.body))
            for row in self._all(query)
        ]

    def checkpoints(self, run_id: int) -> list[Checkpoint]:
        """Return a run's checkpoints, newest last."""
        query = select(checkpoints).where(checkpoints.c.run_id == run_id)
        return [checkpoint_of(row) for row in self._all(query.order_by(checkpoints.c.id))]

    def artifacts(self, run_id: int) -> list[Artifact]:
        """Return the files that a run keeps, by name."""
        query = select(artifacts).where(artifacts.c.run_id == run_id).order_by(artifacts.c.name)
        return [artifact_of(row) for row in self._all(query)]

    def dispatchers(self) -> list[Dispatcher]:
        """Return the dispatchers that have shown themselves of late, by name."""
        with self._reading() as connection:
            now = clock_of(connection)
            leader = connection.execute(select(leaders)).one()
            rows = connection.execute(select(dispatchers).order_by(dispatchers.c.name)).all()
        leading = (leader.name, leader.host, leader.pid) if leader.lease_until > now else None
        return [
            Dispatcher(
                name=row.name,
                host=row.host,
                pid=row.pid,
                seen_at=row.seen_at,
                leads=(row.name, row.host, row.pid) == leading,
                capacity=row.capacity,
                alive=row.lease_until > now,
            )
            for row in rows
        ]

    def _all(self, query: Select[Any]) -> Sequence[Any]:
        with self._reading() as connection:
            return connection.execute(query).all()

    def _run(self, connection: Connection, run_id: int) -> Run:
        found = self._runs(connection, RUN.where(runs.c.id == run_id))
        if not found:
            raise RunNotFoundError(f"there is no run {run_id}; `platform runs` lists them")
        return found[0]

    def _runs(self, connection: Connection, query: Select[Any]) -> list[Run]:
        return read_runs(connection, query, code_of=self._code_of)

    def _code_of(
        self, connection: Connection, digests: set[str]
    ) -> Mapping[str, Mapping[str, Json]]:
        """Return code versions; few and never changed, so each is read once."""
        if missing := digests - self._codes.keys():
            for row in connection.execute(select(codes).where(codes.c.digest.in_(missing))):
                self._codes[row.digest] = unpack_json(row.body)
        return self._codes


def _conditions(which: Filter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [
        column == value
        for column, value in (
            (runs.c.kind, which.kind),
            (runs.c.owner, which.owner),
            (runs.c.study, which.study),
            (runs.c.retry_of, which.retry_of),
        )
        if value
    ]
    if which.states:
        conditions.append(runs.c.state.in_(which.states))
    if which.ids:
        conditions.append(runs.c.id.in_(which.ids))
    if which.text:
        columns = (runs.c.name, runs.c.backbone, runs.c.data, runs.c.recipe)
        conditions.append(or_(*(c.icontains(which.text, autoescape=True) for c in columns)))
    return conditions
