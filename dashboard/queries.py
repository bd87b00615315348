"""What the pages ask of the store: reads only, and nothing else here knows the store's methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import streamlit as st

from convoy.categories import on_same_images
from convoy.leaderboard.rows import BENCHMARK, Group, Wanted, leaderboard
from convoy.leaderboard.study import Board, board
from convoy.records import (
    Artifact,
    Attempt,
    Checkpoint,
    Dispatcher,
    Filter,
    LogPiece,
    Move,
    Point,
    Run,
)
from convoy.states import RunState
from convoy.store import Store
from jobs import studies

_LOG_BATCH = 500


def _name(store: Store) -> str:
    return store.id


@dataclass(frozen=True)
class Listing:
    """One page of runs, newest first.

    Attributes:
        runs: At most as many as were asked for.
        older: Pass it as `before` for the next page, or None on the last one.
        now: The store's clock.
    """

    runs: Sequence[Run]
    older: int | None
    now: datetime


@dataclass(frozen=True)
class Overview:
    """What stands above the list of runs."""

    counts: Mapping[RunState, int]
    dispatchers: Sequence[Dispatcher]

    @property
    def total(self) -> int:
        """How many runs there are."""
        return sum(self.counts.values())

    @property
    def stands_still(self) -> bool:
        """Whether runs wait and no dispatcher lives that could start them."""
        waits = self.counts.get(RunState.QUEUED, 0) > 0
        return waits and not any(dispatcher.alive for dispatcher in self.dispatchers)


@dataclass(frozen=True)
class Record:
    """All about one run but its log and its points."""

    run: Run
    attempts: Sequence[Attempt]
    moves: Sequence[Move]
    checkpoints: Sequence[Checkpoint]
    artifacts: Sequence[Artifact]
    now: datetime


def overview(store: Store) -> Overview:
    """Count the runs and look who starts them."""
    counts = store.counts()
    return Overview({state: counts.get(state, 0) for state in RunState}, store.dispatchers())


def listing(store: Store, which: Filter, *, limit: int, before: int | None) -> Listing:
    """Read one page of runs; takes as long with a hundred runs as with a hundred thousand."""
    found = store.runs(which, limit=limit + 1, before=before)
    more = len(found) > limit
    return Listing(found[:limit], found[limit - 1].id if more else None, store.now())


def record(store: Store, run_id: int) -> Record:
    """Read one run.

    Raises:
        RunNotFoundError: There is none of that number.
    """
    return Record(
        run=store.run(run_id),
        attempts=store.attempts(run_id),
        moves=store.history(run_id),
        checkpoints=store.checkpoints(run_id),
        artifacts=store.artifacts(run_id),
        now=store.now(),
    )


def series(store: Store, run_id: int) -> Mapping[str, Sequence[Point]]:
    """Read the points of a run, by series."""
    return store.series(run_id)


def log(store: Store, run_id: int, *, after: int) -> Iterator[LogPiece]:
    """Read a run's log on from a cursor (0: from the start) to its present end."""
    while pieces := store.log(run_id, after=after, limit=_LOG_BATCH):
        yield from pieces
        after = pieces[-1].cursor


@st.cache_resource(max_entries=2, show_spinner="Reading results", hash_funcs={Store: _name})
def leaderboards(store: Store, succeeded: int) -> Mapping[str, Sequence[Group]]:
    """Rank all results, by task; latency alone is the task ``benchmark``.

    A run that succeeded never changes, so their number says whether there is anything new to read.

    Args:
        store: Where they are.
        succeeded: How many runs have succeeded.
    """
    del succeeded
    runs = list(store.every(Filter(states=(RunState.SUCCEEDED,))))
    found: dict[str, list[Group]] = {}
    for group in leaderboard(runs):
        found.setdefault(str(group.key["task"]), []).append(group)
    found[BENCHMARK] = leaderboard(runs, wanted=Wanted(task=BENCHMARK))
    return found


@st.cache_resource(max_entries=8, show_spinner="Reading results", hash_funcs={Store: _name})
def study_board(store: Store, name: str, counts: tuple[int, ...]) -> Board:
    """Put the rows of a study beside what is published.

    Args:
        store: Where the runs are.
        name: Of the study.
        counts: How many runs are in each state, which says whether there is anything new to read.

    Raises:
        SpecError: There is no such study.
    """
    del counts
    return board(studies.get(name), store.every())


def peers(store: Store, run: Run) -> Sequence[Run]:
    """Return the other finished runs that were scored on the same images as a finished run.

    Args:
        store: Where they are.
        run: Its result says on which data and split.

    Returns:
        Of its kind, newest first.
    """
    succeeded = store.counts().get(RunState.SUCCEEDED, 0)
    return [
        peer
        for peer in _finished(store, run.kind, succeeded)
        if peer.id != run.id and on_same_images(peer, run)
    ]


@st.cache_resource(max_entries=4, show_spinner="Reading results", hash_funcs={Store: _name})
def _finished(store: Store, kind: str, succeeded: int) -> Sequence[Run]:
    """Read the runs of a kind that succeeded; `succeeded` as for `leaderboards`."""
    del succeeded
    return list(store.every(Filter(states=(RunState.SUCCEEDED,), kind=kind)))
