"""How a run moves: the only writer of its state, the fence of its attempts, its history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NoReturn

from sqlalchemy import Connection, insert, select, update

from convoy.errors import IllegalMoveError, RunNotFoundError, SupersededError
from convoy.models import attempts, moves, runs
from convoy.states import RunState, sources
from convoy.store.row import AnyRow


def plain(text: str) -> str:
    """Return text as both databases take it: PostgreSQL has no room for NUL or half a surrogate."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def lock_run(connection: Connection, run_id: int) -> AnyRow:
    """Lock a run for this transaction and return its row.

    Raises:
        RunNotFoundError: There is none.
    """
    query = select(runs).where(runs.c.id == run_id).with_for_update(key_share=True)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise RunNotFoundError(f"there is no run {run_id}; `platform runs` lists them")
    return row


def fence(connection: Connection, run_id: int, number: int) -> tuple[AnyRow, AnyRow]:
    """Lock a run and its attempt `number`, which must be the present one, and return both rows.

    Every write of an attempt begins here. The run is locked before the attempt is read, so what is
    returned stays true until the transaction ends.

    Raises:
        RunNotFoundError: There is no such run.
        SupersededError: The attempt has ended, or a later one has taken its place.
    """
    run = lock_run(connection, run_id)
    query = select(attempts).where(attempts.c.run_id == run_id, attempts.c.number == number)
    attempt = connection.execute(query.with_for_update()).one_or_none()
    present = run.state is RunState.RUNNING and run.attempt == number
    if attempt is None or not present or attempt.ended_at is not None:
        raise superseded(run, number)
    return run, attempt


def superseded(run: AnyRow, number: int, *, detail: str = "") -> SupersededError:
    """Return the error that tells attempt `number` of a run to stop."""
    found = detail or f"the run is {run.state} with attempt {run.attempt}"
    return SupersededError(
        f"attempt {number} of run {run.id} may not write any more: {found}; stop this process"
    )


def move(
    connection: Connection,
    run: AnyRow,
    target: RunState,
    *,
    at: datetime,
    reason: str,
    number: int | None = None,
    values: Mapping[str, object] | None = None,
) -> None:
    """Move a run and write its history: the only place where a run's state changes.

    Args:
        connection: In a transaction that writes.
        run: The run's row, as `lock_run` or `fence` returned it in this transaction.
        target: Where it goes; must be allowed from where it stands by `states.NEXT`.
        at: The database's clock.
        reason: For the history.
        number: The attempt that it must have, or None for any.
        values: Other columns of the run to be set with it.

    Raises:
        SupersededError: It has another attempt.
        IllegalMoveError: A run in its state does not go there.
    """
    statement = (
        update(runs)
        .where(runs.c.id == run.id, runs.c.state.in_(sources(target)))
        .values({**(values or {}), "state": target})
        .returning(runs.c.attempt)
    )
    if number is not None:
        statement = statement.where(runs.c.attempt == number)
    attempt = connection.execute(statement).scalar_one_or_none()
    if attempt is None:
        _refuse(run, target, number=number)
    note(connection, run.id, attempt, at=at, reason=reason, states=(run.state, target))


def _refuse(run: AnyRow, target: RunState, *, number: int | None) -> NoReturn:
    if number is not None and run.attempt != number:
        raise superseded(run, number)
    raise IllegalMoveError(
        f"run {run.id} is {run.state} and cannot become {target}"
        + ("; it has ended" if run.state.is_final else "")
    )


def note(
    connection: Connection,
    run_id: int,
    attempt: int,
    *,
    at: datetime,
    reason: str,
    states: tuple[RunState | None, RunState | None] = (None, None),
) -> None:
    """Add a line to a run's history: a change of state, or (without states) a notable event."""
    source, target = states
    connection.execute(
        insert(moves).values(
            run_id=run_id,
            attempt=attempt,
            at=at,
            source=source,
            target=target,
            reason=plain(reason),
        )
    )
