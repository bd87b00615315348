"""What a dispatcher writes: leading, claiming, releasing, explaining."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from convoy.errors import IllegalMoveError
from convoy.models import attempts, dispatchers, leaders, runs
from convoy.records import Attempt, Json, Run
from convoy.states import Failure, Phase, RunState, Waiting
from convoy.store.database import clock_of
from convoy.store.move import lock_run, move, plain
from convoy.store.reading import Reading
from convoy.store.row import RUN, AnyRow, attempt_of

_FORGET = timedelta(days=1)
"""A dispatcher that has not shown itself for so long is not listed any more."""


class Dispatch(Reading):
    """One leader at a time claims runs; its term fences out those that led before."""

    def lead(
        self,
        name: str,
        *,
        host: str,
        pid: int,
        capacity: Mapping[str, Json],
        lease_s: float,
        grace_s: float | None = None,
    ) -> int | None:
        """Show oneself, and take or keep the leader's lease.

        When nobody led for so long that attempts' leases may have run out, or this store object
        lost the store since the last call, the silence may have been the store's and not the
        attempts': `overdue` then gives none until a full lease of theirs has passed.

        Args:
            name: Of this dispatcher; another process of the same name stands by like any other.
            host: Machine on which it runs.
            pid: Its process there.
            capacity: What the cluster has, for people who look.
            lease_s: Seconds for which it leads without another call.
            grace_s: Lease of the attempts; as `lease_s` when not given.

        Returns:
            The term, which grows with each change of leader, or None while another one leads.
        """
        with self._writing() as connection:
            leader = connection.execute(select(leaders).with_for_update()).one()
            now = clock_of(connection)
            lease = timedelta(seconds=lease_s)
            grace = lease if grace_s is None else timedelta(seconds=grace_s)
            shown = {"host": host, "pid": pid, "seen_at": now, "lease_until": now + lease}
            _show(connection, name, {**shown, "capacity": dict(capacity)})
            same = (leader.name, leader.host, leader.pid) == (name, host, pid)
            if not same and leader.lease_until > now:
                return None
            # Leases are renewed every third of their length, so a shorter silence ends none.
            silent = self._was_away or now - leader.seen_at > grace * 2 / 3
            term = int(leader.term) + (0 if same else 1)
            grace_until = now + grace if silent and leader.term else leader.grace_until
            kept = {"name": name, "term": term, "grace_until": grace_until}
            connection.execute(update(leaders).values({**shown, **kept}))
        self._was_away = False
        return term

    def resign(self, name: str, *, term: int) -> None:
        """Give up the leader's lease, so that the next dispatcher need not wait for its end.

        Args:
            name: Of the dispatcher that ends; it is no longer alive afterwards.
            term: What `lead` returned; with another leader's term in force nothing changes.
        """
        with self._writing() as connection:
            leader = connection.execute(select(leaders).with_for_update()).one()
            now = clock_of(connection)
            if (leader.name, leader.term) == (name, term):
                connection.execute(update(leaders).values(lease_until=now))
            connection.execute(
                update(dispatchers).where(dispatchers.c.name == name).values(lease_until=now)
            )

    def pending(self, *, limit: int = 1000) -> list[Run]:
        """Return queued runs as the scheduler considers them: by priority, then by age."""
        query = RUN.where(runs.c.state == RunState.QUEUED).order_by(runs.c.urgency, runs.c.id)
        with self._reading() as connection:
            return self._runs(connection, query.limit(limit))

    def live_attempts(self) -> list[Attempt]:
        """Return attempts that hold resources: not ended, or ended and not yet released."""
        query = select(attempts).where(attempts.c.released_at.is_(None))
        return [
            attempt_of(row)
            for row in self._all(query.order_by(attempts.c.run_id, attempts.c.number))
        ]

    def overdue(self) -> list[Attempt]:
        """Return attempts that may be taken for lost: their lease, or time to begin, ran out.

        By the database's clock. After an outage of the store (see `lead`) none, until one full
        lease has passed since it is back: the silence was the store's, not the attempts'.
        """
        with self._reading() as connection:
            now = clock_of(connection)
            if connection.execute(select(leaders.c.grace_until)).scalar_one() > now:
                return []
            query = select(attempts).where(
                attempts.c.released_at.is_(None),
                attempts.c.ended_at.is_(None),
                attempts.c.lease_until < now,
            )
            return [attempt_of(row) for row in connection.execute(query)]

    def explain_waiting(self, reasons: Mapping[int, tuple[Waiting, str]]) -> None:
        """Say why queued runs wait; writes only what has changed.

        Args:
            reasons: By run: the code, and the same in words. A run that is no longer queued is
                left alone.
        """
        query = select(runs.c.id, runs.c.waiting, runs.c.waiting_detail)
        rows = self._all(query.where(runs.c.id.in_(reasons))) if reasons else ()
        changed = [
            {"of_run": row.id, "code": reasons[row.id][0], "words": plain(reasons[row.id][1])}
            for row in sorted(rows, key=lambda row: int(row.id))
            if (row.waiting, row.waiting_detail) != reasons[row.id]
        ]
        if changed:
            queued = (runs.c.id == bindparam("of_run")) & (runs.c.state == RunState.QUEUED)
            values = update(runs).values(
                waiting=bindparam("code"), waiting_detail=bindparam("words")
            )
            with self._writing() as connection:
                connection.execute(values.where(queued), changed)

    def claim(
        self, run_id: int, *, dispatcher: str, term: int, deadline_s: float
    ) -> Attempt | None:
        """Take a queued run: a new attempt in phase placing, its resources reserved.

        Args:
            run_id: The run.
            dispatcher: Who takes it.
            term: What `lead` returned; when another term is in force nothing is claimed.
            deadline_s: Seconds within which the attempt must `begin`.

        Returns:
            The attempt, or None when somebody else was first (or leads).

        Raises:
            RunNotFoundError: There is no such run.
        """
        with self._writing() as connection:
            # The leader's row stays as it is until this transaction ends: no claim by an old term
            # can come after a new one began.
            present = select(leaders.c.term).with_for_update(read=True)
            if connection.execute(present).scalar_one() != term:
                return None
            run = lock_run(connection, run_id)
            if run.state is not RunState.QUEUED:
                return None
            return _claim(connection, run, dispatcher=dispatcher, deadline_s=deadline_s)

    def release(self, run_id: int, number: int) -> None:
        """Record that an ended attempt's resources were seen to be free; again is harmless.

        Raises:
            IllegalMoveError: The attempt has not ended, or there is none.
        """
        this = (attempts.c.run_id == run_id) & (attempts.c.number == number)
        with self._writing() as connection:
            query = select(attempts.c.ended_at, attempts.c.released_at).where(this)
            row = connection.execute(query.with_for_update()).one_or_none()
            if row is None or row.ended_at is None:
                found = "does not exist" if row is None else "has not ended"
                raise IllegalMoveError(
                    f"attempt {number} of run {run_id} {found}; only what an ended one held is free"
                )
            if row.released_at is None:
                connection.execute(
                    update(attempts).where(this).values(released_at=clock_of(connection))
                )

    def fail_queued(self, run_id: int, *, failure: Failure, text: str) -> bool:
        """End a queued run whose dependency did not succeed.

        Args:
            run_id: The run.
            failure: Class of the failure.
            text: Cause, evidence, what to type.

        Returns:
            Whether it was; a run that is not queued (any more) is left alone.
        """
        with self._writing() as connection:
            run = lock_run(connection, run_id)
            if run.state is not RunState.QUEUED:
                return False
            now = clock_of(connection)
            ended = {"failure": failure, "failure_text": plain(text), "ended_at": now}
            settled = {"waiting": None, "waiting_detail": "", "not_before": None}
            move(
                connection,
                run,
                RunState.FAILED,
                at=now,
                reason=text.partition("\n")[0],
                values={**ended, **settled},
            )
            return True


def _show(connection: Connection, name: str, values: Mapping[str, Any]) -> None:
    """Write a dispatcher's heartbeat; the leader's row is locked, so nobody else writes it now."""
    this = dispatchers.c.name == name
    if not connection.execute(update(dispatchers).where(this).values(values)).rowcount:
        connection.execute(insert(dispatchers).values({**values, "name": name}))
        old = dispatchers.c.seen_at < values["seen_at"] - _FORGET
        connection.execute(delete(dispatchers).where(old))


def _claim(connection: Connection, run: AnyRow, *, dispatcher: str, deadline_s: float) -> Attempt:
    now: datetime = clock_of(connection)
    number = run.attempt + 1
    started = {"attempt": number, "started_at": func.coalesce(runs.c.started_at, now)}
    cleared = {"not_before": None, "waiting": None, "waiting_detail": "", "status": ""}
    move(
        connection,
        run,
        RunState.RUNNING,
        at=now,
        reason=f"claimed by {dispatcher}",
        values={**started, **cleared},
    )
    made = connection.execute(
        insert(attempts)
        .values(
            run_id=run.id,
            number=number,
            dispatcher=dispatcher,
            phase=Phase.PLACING,
            error="",
            node="",
            environment={},
            workers=run.workers,
            cpus=run.cpus,
            gpus=run.gpus,
            created_at=now,
            lease_until=now + timedelta(seconds=deadline_s),
        )
        .returning(*attempts.c)
    )
    return attempt_of(made.one())
