"""How an attempt ends, and what becomes of its run: one transaction."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection, select, update

from convoy.models import attempts, checkpoints
from convoy.policy import BUDGETS, Decision, Fault, Verdict, decide
from convoy.records import Json, Run
from convoy.states import Failure, Outcome, Phase, RunState, Waiting
from convoy.store.database import clock_of
from convoy.store.move import fence, move, plain
from convoy.store.reading import Reading
from convoy.store.row import AnyRow

logger = logging.getLogger(__name__)

_SETTLED: Mapping[str, object] = {"waiting": None, "waiting_detail": "", "eta_s": None}


class Ending(Reading):
    """The end of an attempt: its own call, its lease keeper's, or the dispatcher's."""

    def end(
        self,
        run_id: int,
        number: int,
        *,
        outcome: Outcome,
        result: Mapping[str, Json] | None = None,
        failure: Failure | None = None,
        error: str = "",
    ) -> Run:
        """End an attempt and move its run, in one transaction.

        SUCCEEDED records the result; CANCELLED ends the run; for FAILED and LOST
        `policy.decide` says from the history whether the run is queued again, with a pause, or has
        failed. A run that was asked to stop is not tried again: it ends as cancelled.

        Args:
            run_id: The run.
            number: The attempt.
            outcome: How it ended.
            result: ``{"scores": ..., "facts": ..., "rows": [...]}`` of one that succeeded.
            failure: Class of the failure; by default `CODE` for FAILED, `NODE_LOST` for LOST.
            error: Evidence: the error's text, a signal, the last that was seen of it.

        Returns:
            The run as it is now.

        Raises:
            RunNotFoundError: There is no such run.
            SupersededError: It is not the run's present attempt, or has ended already.
            ValueError: It succeeded without a result.
        """
        if outcome is Outcome.SUCCEEDED and result is None:
            raise ValueError("an attempt that succeeded has a result; none was given")
        with self._writing() as connection:
            run, attempt = fence(connection, run_id, number)
            now = clock_of(connection)
            if outcome in {Outcome.SUCCEEDED, Outcome.CANCELLED}:
                failure = None
            elif failure is None:
                failure = Failure.CODE if outcome is Outcome.FAILED else Failure.NODE_LOST
            _close(connection, attempt, outcome=outcome, failure=failure, error=error, at=now)
            if outcome is Outcome.SUCCEEDED:
                done = {"result": result, "failure": None, "failure_text": ""}
                _finish(connection, run, RunState.SUCCEEDED, at=now, reason="done", values=done)
            elif failure is None or run.cancel_reason:
                _cancel(connection, run, failure=failure, at=now)
            else:
                _decide(connection, run, failure=failure, error=error, at=now)
            return self._run(connection, run_id)


def _close(
    connection: Connection,
    attempt: AnyRow,
    *,
    outcome: Outcome,
    failure: Failure | None,
    error: str,
    at: datetime,
) -> None:
    this = (attempts.c.run_id == attempt.run_id) & (attempts.c.number == attempt.number)
    ended = {"phase": Phase.ENDED, "outcome": outcome, "failure": failure, "ended_at": at}
    connection.execute(update(attempts).where(this).values({**ended, "error": plain(error)}))


def _finish(
    connection: Connection,
    run: AnyRow,
    target: RunState,
    *,
    at: datetime,
    reason: str,
    values: Mapping[str, object],
) -> None:
    ended = {**_SETTLED, **values, "ended_at": at}
    move(connection, run, target, at=at, reason=reason, number=run.attempt, values=ended)


def _cancel(connection: Connection, run: AnyRow, *, failure: Failure | None, at: datetime) -> None:
    reason = f"cancelled: {run.cancel_reason or 'by the attempt itself'}"
    if failure is not None:
        reason += f"; before it could stop by itself, {BUDGETS[failure].cause}"
    _finish(connection, run, RunState.CANCELLED, at=at, reason=reason, values={})


def _decide(
    connection: Connection, run: AnyRow, *, failure: Failure, error: str, at: datetime
) -> None:
    *earlier, fault = _faults(connection, run.id)
    decision = decide(fault, earlier)
    logger.info(
        "attempt failed",
        extra={"run_id": run.id, "attempt": run.attempt, "failure": failure, "decision": decision},
    )
    cause = f"attempt {run.attempt}: {BUDGETS[failure].cause}"
    reason = f"{cause} ({decision.reason})"
    if decision.verdict is Verdict.FAIL:
        text = failure_text(
            run.id, cause=cause, error=error, kept=_kept(connection, run.id), decision=decision
        )
        failed = {"failure": failure, "failure_text": plain(text), "status": ""}
        _finish(connection, run, RunState.FAILED, at=at, reason=reason, values=failed)
        return
    again = {
        "not_before": at + timedelta(seconds=decision.pause_s) if decision.pause_s else None,
        "waiting": Waiting.BACKOFF if decision.pause_s else None,
        "waiting_detail": reason,
        "status": "",
        "eta_s": None,
    }
    move(connection, run, RunState.QUEUED, at=at, reason=reason, number=run.attempt, values=again)


def _faults(connection: Connection, run_id: int) -> list[Fault]:
    """Return how the run's attempts failed, oldest first; the last is the one that just ended."""
    query = (
        select(attempts.c.failure, attempts.c.saved_step)
        .where(attempts.c.run_id == run_id, attempts.c.failure.is_not(None))
        .order_by(attempts.c.number)
    )
    return [Fault(row.failure, row.saved_step) for row in connection.execute(query)]


def _kept(connection: Connection, run_id: int) -> AnyRow | None:
    query = select(checkpoints.c.step, checkpoints.c.attempt).where(checkpoints.c.run_id == run_id)
    return connection.execute(query.order_by(checkpoints.c.id.desc()).limit(1)).one_or_none()


def failure_text(
    run_id: int, *, cause: str, error: str, kept: AnyRow | None, decision: Decision
) -> str:
    """Return what a person reads of a failed run: cause, evidence, what was kept, what to type."""
    if kept is None:
        saved = "Nothing was kept: there is no checkpoint."
        again = "starts it anew"
    else:
        saved = f"Kept: the checkpoint at step {kept.step} of attempt {kept.attempt}."
        again = f"goes on from step {kept.step}"
    return "\n".join(
        [
            f"{cause[:1].upper()}{cause[1:]}; {decision.reason}.",
            *([error.strip()] if error.strip() else []),
            saved,
            f"Next: `platform logs {run_id}` shows its log, `platform retry {run_id}` {again}.",
        ]
    )
