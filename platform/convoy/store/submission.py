"""Submitting runs, and asking for their end."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from convoy.errors import IllegalMoveError, StoreError, SubmissionError
from convoy.models import codes, dependencies, moves, runs
from convoy.records import Following, NewRun, Run
from convoy.states import RunState
from convoy.store.batch import pack_json
from convoy.store.database import clock_of
from convoy.store.fault import is_duplicate
from convoy.store.move import lock_run, move, note, plain
from convoy.store.reading import Reading
from convoy.store.row import RUN, AnyRow


class Submission(Reading):
    """What a person, a study or a sweep writes."""

    def submit(self, runs: Sequence[NewRun | Following]) -> list[Run]:
        """Queue runs, all or none, in one transaction.

        Args:
            runs: Checked runs. One whose `key` is known already is not queued again: the first
                run with that key stands for it.

        Returns:
            The runs, in the order given.

        Raises:
            SubmissionError: A key is taken by a run of another spec, or a run that is named
                (`depends_on`, `retry_of`) does not exist.
            ValueError: A run follows one that does not stand before it.
        """
        try:
            return self._submit(runs)
        except StoreError as error:
            # Two submissions with one new key at the same moment: the other one was first, and
            # now its run is found.
            if not is_duplicate(error.__cause__):
                raise
            return self._submit(runs)

    def request_cancel(self, run_id: int, *, reason: str = "user") -> Run:
        """Cancel a queued run at once; ask a running one to stop.

        Args:
            run_id: The run.
            reason: Why: ``user``, ``early_stop``, ...; a running run keeps the first one it got.

        Raises:
            RunNotFoundError: There is none.
            IllegalMoveError: It has ended.
        """
        with self._writing() as connection:
            run = lock_run(connection, run_id)
            now = clock_of(connection)
            if run.state.is_final:
                raise IllegalMoveError(f"run {run_id} is {run.state} already; nothing to cancel")
            if run.state is RunState.QUEUED:
                ended = {"ended_at": now, "cancel_reason": plain(reason), "waiting": None}
                move(
                    connection,
                    run,
                    RunState.CANCELLED,
                    at=now,
                    reason=f"cancelled while queued: {reason}",
                    values={**ended, "waiting_detail": "", "not_before": None},
                )
            elif not run.cancel_reason:
                connection.execute(
                    update(runs).where(runs.c.id == run_id).values(cancel_reason=plain(reason))
                )
                note(connection, run_id, run.attempt, at=now, reason=f"asked to stop: {reason}")
            return self._run(connection, run_id)

    def _submit(self, new: Sequence[NewRun | Following]) -> list[Run]:
        with self._writing() as connection:
            ids: dict[int, int] = {}
            for generation in _generations(new):
                # those that follow runs learn the numbers that these have just got
                ready = [_ready(new[place], ids) for place in generation]
                ids |= zip(generation, _place(connection, ready), strict=True)
            query = RUN.where(runs.c.id.in_(sorted(set(ids.values()))))
            found = {run.id: run for run in self._runs(connection, query)}
            return [found[ids[place]] for place in range(len(new))]


def _generations(new: Sequence[NewRun | Following]) -> list[list[int]]:
    """Cut the places of the runs into pieces, so that none follows another one of its piece."""
    pieces: list[list[int]] = [[]]
    for place, run in enumerate(new):
        if isinstance(run, Following):
            if not 0 <= run.parent < place:
                raise ValueError(
                    f"run {place} follows {run.parent}, which does not stand before it"
                )
            if run.parent in pieces[-1]:
                pieces.append([])
        pieces[-1].append(place)
    return pieces


def _ready(run: NewRun | Following, ids: Mapping[int, int]) -> NewRun:
    return run.make(ids[run.parent]) if isinstance(run, Following) else run


def _place(connection: Connection, new: Sequence[NewRun]) -> list[int]:
    """Insert the runs that are not there yet; return all their numbers in the order given."""
    _require(connection, new)
    known = _known(connection, new)
    fresh: dict[str | int, NewRun] = {}
    for place, run in enumerate(new):
        if run.key in known:
            first = known[run.key]
            _require_same(run, first, first_is=f"run {first.id}")
        elif run.key in fresh:
            _require_same(run, fresh[run.key], first_is="another run of this submission")
        else:
            fresh[run.key or place] = run
    made = dict(zip(fresh, _insert(connection, list(fresh.values())), strict=True))
    return [
        known[run.key].id if run.key in known else made[run.key or place]
        for place, run in enumerate(new)
    ]


def _require(connection: Connection, new: Sequence[NewRun]) -> None:
    """Refuse runs that name runs which do not exist, or take up one that has not ended."""
    needed = {run_id for run in new for run_id in run.depends_on}
    resumed = {run.retry_of for run in new if run.retry_of is not None}
    query = select(runs.c.id, runs.c.state).where(runs.c.id.in_(needed | resumed))
    states = {row.id: row.state for row in connection.execute(query)} if needed | resumed else {}
    if missing := sorted((needed | resumed) - states.keys()):
        raise SubmissionError(
            f"there is no run {', '.join(map(str, missing))}, which this submission names; "
            "`platform runs` lists them"
        )
    for run_id in sorted(resumed):
        if not states[run_id].is_final:
            raise SubmissionError(
                f"run {run_id} is {states[run_id]} and has not ended; "
                f"wait for it, or type `platform cancel {run_id}` first"
            )


def _known(connection: Connection, new: Sequence[NewRun]) -> Mapping[str | None, AnyRow]:
    keys = {run.key for run in new if run.key}
    query = select(runs.c.id, runs.c.key, runs.c.kind, runs.c.spec_hash)
    rows = connection.execute(query.where(runs.c.key.in_(keys))) if keys else ()
    return {row.key: row for row in rows}


def _require_same(run: NewRun, first: NewRun | AnyRow, *, first_is: str) -> None:
    if (run.kind, run.spec_hash) != (first.kind, first.spec_hash):
        raise SubmissionError(
            f"the key {run.key!r} belongs to {first_is}, whose spec is another one "
            f"({first.kind} {first.spec_hash}, not {run.kind} {run.spec_hash}); "
            "submit with another key"
        )


def _insert(connection: Connection, new: Sequence[NewRun]) -> list[int]:
    """Insert runs with their first line of history; return their numbers in the order given."""
    if not new:
        return []
    now = clock_of(connection)
    digests = _insert_codes(connection, new)
    made = connection.execute(
        insert(runs).returning(runs.c.id, sort_by_parameter_order=True),
        [
            _values(run, code_digest=digest, now=now)
            for run, digest in zip(new, digests, strict=True)
        ],
    )
    ids = [int(row.id) for row in made]
    connection.execute(
        insert(moves),
        [
            {"run_id": run_id, "attempt": 0, "at": now, "source": None}
            | {"target": RunState.QUEUED, "reason": f"submitted by {plain(run.owner)}"}
            for run_id, run in zip(ids, new, strict=True)
        ],
    )
    needs = [
        {"run_id": run_id, "needs": needed}
        for run_id, run in zip(ids, new, strict=True)
        for needed in dict.fromkeys(run.depends_on)
    ]
    if needs:
        connection.execute(insert(dependencies), needs)
    return ids


def _insert_codes(connection: Connection, new: Sequence[NewRun]) -> list[str]:
    """Store the code versions that are not there yet; return each run's digest."""
    bodies = [pack_json(dict(run.code)) for run in new]
    digests = [hashlib.sha256(body).hexdigest()[:32] for body in bodies]
    by_digest = dict(zip(digests, bodies, strict=True))
    known = set(
        connection.execute(select(codes.c.digest).where(codes.c.digest.in_(by_digest))).scalars()
    )
    if rows := [{"digest": d, "body": b} for d, b in by_digest.items() if d not in known]:
        connection.execute(insert(codes), rows)
    return digests


def _values(run: NewRun, *, code_digest: str, now: datetime) -> dict[str, object]:
    texts = ("kind", "spec_hash", "owner", "name", "backbone", "data", "recipe", "study")
    return {
        **{name: plain(getattr(run, name)) for name in texts},
        "spec": dict(run.spec),
        "workers": run.resources.workers,
        "cpus": run.resources.cpus,
        "gpus": run.resources.gpus,
        "urgency": -run.priority,
        "key": run.key or None,
        "retry_of": run.retry_of,
        "code_digest": code_digest,
        "state": RunState.QUEUED,
        "attempt": 0,
        "created_at": now,
        "waiting_detail": "",
        "cancel_reason": "",
        "status": "",
        "step": 0,
        "total_steps": 0,
        "epoch": 0,
        "last": {},
        "best": {},
        "failure_text": "",
    }
