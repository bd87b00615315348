"""What an attempt writes; every write is fenced by the attempt's number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta

from sqlalchemy import Connection, delete, insert, select, update

from convoy.errors import IllegalMoveError
from convoy.models import artifacts, attempts, checkpoints, log_chunks, runs, series_chunks
from convoy.records import Json, Point, Requests, Run
from convoy.states import Phase
from convoy.store.batch import pack_points, pack_text
from convoy.store.database import clock_of
from convoy.store.move import fence, note, plain, superseded
from convoy.store.reading import Reading
from convoy.store.row import AnyRow

FULL_CHUNK_BYTES = 4096
"""A chunk of series that is larger is left alone, and a new one is begun.

Some 500 points. An attempt that reports a few of them every second for days fills hundreds of rows,
not hundreds of thousands, and each report rewrites no more than this.
"""


class AttemptWrites(Reading):
    """Each call names the run and the attempt's number.

    When that attempt is not the present one any more, or has ended, `SupersededError` is raised and
    nothing is changed: a run may execute twice, but is recorded once.
    """

    def begin(
        self,
        run_id: int,
        number: int,
        *,
        node: str,
        pid: int,
        environment: Mapping[str, Json],
        lease_s: float,
    ) -> Run:
        """Show that the attempt's process lives: placing -> starting, and the first lease.

        The same process may call again; that only renews the lease.

        Args:
            run_id: The run.
            number: The attempt.
            node: Machine on which it runs.
            pid: Its process there.
            environment: Versions, device, and what else a reader of the result may want.
            lease_s: Seconds for which it counts as alive without `renew`.

        Raises:
            SupersededError: Also when another process has begun this attempt.
        """
        with self._writing() as connection:
            run, attempt = fence(connection, run_id, number)
            now = clock_of(connection)
            if attempt.phase is not Phase.PLACING and (attempt.node, attempt.pid) != (node, pid):
                raise superseded(
                    run, number, detail=f"process {attempt.pid} on {attempt.node} has it"
                )
            values: dict[str, object] = {"lease_until": now + timedelta(seconds=lease_s)}
            if attempt.phase is Phase.PLACING:
                values |= {"phase": Phase.STARTING, "node": node, "pid": pid, "began_at": now}
                values |= {"environment": dict(environment)}
                values |= {"resumed_step": _newest_step(connection, run)}
                note(connection, run_id, number, at=now, reason=f"began on {node}, process {pid}")
            _set(connection, attempt, values)
            return self._run(connection, run_id)

    def renew(self, run_id: int, number: int, *, lease_s: float) -> Requests:
        """Renew the lease, and learn what is asked of the attempt.

        A lease that has run out can be renewed as long as nobody has ended the attempt for it.
        """
        with self._writing() as connection:
            run, attempt = fence(connection, run_id, number)
            until = clock_of(connection) + timedelta(seconds=lease_s)
            _set(connection, attempt, {"lease_until": until})
            return Requests(stop=run.cancel_reason)

    def set_phase(self, run_id: int, number: int, phase: Phase) -> None:
        """Say how far the attempt is: starting, running or stopping.

        Raises:
            IllegalMoveError: The phase is placing (`claim` sets it) or ended (`end` does).
        """
        if phase in {Phase.PLACING, Phase.ENDED}:
            raise IllegalMoveError(f"an attempt does not set its own phase to {phase}")
        with self._writing() as connection:
            _, attempt = fence(connection, run_id, number)
            _set(connection, attempt, {"phase": phase})

    def progress(
        self,
        run_id: int,
        number: int,
        *,
        status: str | None = None,
        step: int | None = None,
        total_steps: int | None = None,
        epoch: int | None = None,
        eta_s: float | None = None,
        points: Mapping[str, Sequence[Point]] | None = None,
    ) -> Requests:
        """Record progress and a batch of points, which go into compressed chunks.

        What is None stays as it was. The run's last and best values follow from the points.

        Args:
            run_id: The run.
            number: The attempt.
            status: What it does just now.
            step: Steps done.
            total_steps: Steps of the whole run.
            epoch: Epochs done.
            eta_s: Seconds that are left.
            points: New points by series, in order of step.
        """
        with self._writing() as connection:
            run, attempt = fence(connection, run_id, number)
            now = clock_of(connection)
            told = {"step": step, "total_steps": total_steps, "epoch": epoch, "eta_s": eta_s}
            values: dict[str, object] = {k: v for k, v in told.items() if v is not None}
            if status is not None:
                values["status"] = plain(status)
            if step is not None or (status and values["status"] != run.status):
                values["step_at"] = now
            if step is not None and attempt.first_step_at is None:
                _set(connection, attempt, {"first_step_at": now})
            if points and any(points.values()):
                _add_points(connection, attempt, points)
                values |= {"last": _last(run.last, points), "best": _best(run.best, points)}
            if values:
                connection.execute(update(runs).where(runs.c.id == run_id).values(values))
            return Requests(stop=run.cancel_reason)

    def append_log(self, run_id: int, number: int, *, rank: int, text: str) -> None:
        """Append lines of one rank's log, in one compressed chunk a call.

        Args:
            run_id: The run.
            number: The attempt.
            rank: Which worker wrote them.
            text: Whole lines.
        """
        with self._writing() as connection:
            fence(connection, run_id, number)
            if not text:
                return
            this = (log_chunks.c.run_id == run_id) & (log_chunks.c.attempt == number)
            ends = select(log_chunks.c.end_byte).where(this, log_chunks.c.rank == rank)
            newest = ends.order_by(log_chunks.c.first_byte.desc()).limit(1)
            first = connection.execute(newest).scalar() or 0
            connection.execute(
                insert(log_chunks).values(
                    run_id=run_id,
                    attempt=number,
                    rank=rank,
                    first_byte=first,
                    end_byte=first + len(text.encode("utf-8", "replace")),
                    at=clock_of(connection),
                    body=pack_text(text),
                )
            )

    def add_checkpoint(
        self, run_id: int, number: int, *, step: int, path: str, size_mib: float
    ) -> None:
        """Record a checkpoint that is whole and in its place; the same path again replaces it.

        Args:
            run_id: The run.
            number: The attempt.
            step: Steps done when it was made.
            path: Where it lies, under the storage URL.
            size_mib: Its size.
        """
        with self._writing() as connection:
            _, attempt = fence(connection, run_id, number)
            _delete_checkpoint(connection, run_id, path)
            connection.execute(
                insert(checkpoints).values(
                    run_id=run_id,
                    attempt=number,
                    step=step,
                    path=path,
                    size_mib=size_mib,
                    created_at=clock_of(connection),
                )
            )
            _set(connection, attempt, {"saved_step": max(step, attempt.saved_step or 0)})

    def drop_checkpoint(self, run_id: int, path: str, *, number: int | None = None) -> None:
        """Forget a checkpoint whose files are about to be deleted; an unknown one is no error.

        Args:
            run_id: The run.
            path: As it was recorded.
            number: The attempt that drops it, which is then fenced; None for a sweeper that
                clears what nobody will resume from.
        """
        with self._writing() as connection:
            if number is not None:
                fence(connection, run_id, number)
            _delete_checkpoint(connection, run_id, path)

    def add_artifact(
        self, run_id: int, number: int, *, name: str, path: str, size_mib: float
    ) -> None:
        """Record a file that the run keeps; a later one of the same name takes its place."""
        with self._writing() as connection:
            fence(connection, run_id, number)
            values = {"attempt": number, "path": path, "size_mib": size_mib}
            this = (artifacts.c.run_id == run_id) & (artifacts.c.name == name)
            if not connection.execute(update(artifacts).where(this).values(values)).rowcount:
                connection.execute(insert(artifacts).values(run_id=run_id, name=name, **values))


def _set(connection: Connection, attempt: AnyRow, values: Mapping[str, object]) -> None:
    this = (attempts.c.run_id == attempt.run_id) & (attempts.c.number == attempt.number)
    connection.execute(update(attempts).where(this).values(values))


def _delete_checkpoint(connection: Connection, run_id: int, path: str) -> None:
    this = (checkpoints.c.run_id == run_id) & (checkpoints.c.path == path)
    connection.execute(delete(checkpoints).where(this))


def _newest_step(connection: Connection, run: AnyRow) -> int | None:
    """Return the step of the checkpoint from which an attempt that begins now goes on."""
    query = select(checkpoints.c.step).order_by(checkpoints.c.id.desc()).limit(1)
    for run_id in (run.id, run.retry_of):
        step = connection.execute(query.where(checkpoints.c.run_id == run_id)).scalar()
        if step is not None:
            return int(step)
    return None


def _add_points(
    connection: Connection, attempt: AnyRow, points: Mapping[str, Sequence[Point]]
) -> None:
    """Add points to the attempt's newest chunk, or to a new one when that is full."""
    steps = [point.step for series in points.values() for point in series]
    this = (series_chunks.c.run_id == attempt.run_id) & (series_chunks.c.attempt == attempt.number)
    newest = select(series_chunks).where(this).order_by(series_chunks.c.id.desc()).limit(1)
    chunk = connection.execute(newest).one_or_none()
    if chunk is None or len(chunk.body) > FULL_CHUNK_BYTES:
        values = {"first_step": min(steps), "last_step": max(steps), "body": pack_points(points)}
        connection.execute(
            insert(series_chunks).values(run_id=attempt.run_id, attempt=attempt.number, **values)
        )
        return
    connection.execute(
        update(series_chunks)
        .where(series_chunks.c.id == chunk.id)
        .values(
            first_step=min(*steps, chunk.first_step),
            last_step=max(*steps, chunk.last_step),
            body=pack_points(points, onto=chunk.body),
        )
    )


def _last(known: Mapping[str, float], points: Mapping[str, Sequence[Point]]) -> Mapping[str, float]:
    return {**known, **{name: series[-1].value for name, series in points.items() if series}}


def _best(known: Mapping[str, float], points: Mapping[str, Sequence[Point]]) -> Mapping[str, float]:
    """Return the best value of each ``val_*`` series: the lowest of a loss, else the highest."""
    best = dict(known)
    for name, series in points.items():
        values = [point.value for point in series if not math.isnan(point.value)]
        if name.startswith("val_") and values:
            choose = min if name.endswith("loss") else max
            best[name] = choose([*values, best[name]] if name in best else values)
    return best
