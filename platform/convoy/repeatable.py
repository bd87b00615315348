"""Submissions that may be made again: what is there is found, what failed is taken up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from convoy import lineage, submission
from convoy.records import Following, NewRun, Run
from convoy.states import RunState

if TYPE_CHECKING:
    from convoy.store import Store


@dataclass(frozen=True)
class Part:
    """A run that was asked for.

    Attributes:
        run: As it was right after it was asked for.
        is_new: Whether this call queued it; else an earlier call did.
    """

    run: Run
    is_new: bool


def keyed(new: Sequence[NewRun], *, prefix: str) -> list[NewRun]:
    """Return the runs with keys that follow from their specs, so that each is queued once.

    Args:
        new: Checked runs.
        prefix: What the keys begin with; runs of different prefixes are never the same.
    """
    return [with_key(run, prefix=prefix) for run in new]


def with_key(run: NewRun, *, prefix: str) -> NewRun:
    """Return a run with the key that follows from its spec, see `keyed`."""
    return replace(run, key=f"{prefix}:{run.kind}:{run.spec_hash}")


def enqueue(store: Store, new: Sequence[NewRun | Following]) -> list[Part]:
    """Ask for runs, all or none; those of an earlier call are found.

    Args:
        store: Where they go.
        new: Checked runs with keys.

    Returns:
        One a run, in the order given. A run that failed or was cancelled is replaced by one that
        takes it up from its last checkpoint.
    """
    newest = max((run.id for run in store.runs(limit=1)), default=0)
    runs = store.submit(new)
    while ended := [run for run in runs if _is_to_be_taken_up(run)]:
        # one by one: a run that is taken up starts from the one that takes up its parent
        taken = {run.id: store.submit([_retry(store, run)])[0] for run in ended}
        runs = [taken.get(run.id, run) for run in runs]
    return [Part(run, is_new=run.id > newest) for run in runs]


def unused_seed(runs: Iterable[Run]) -> int:
    """Return the lowest seed above those of some runs, 0 when there are none."""
    return 1 + max((run.spec.get("seed", 0) for run in runs), default=-1)


def _is_to_be_taken_up(run: Run) -> bool:
    return run.state.is_final and run.state is not RunState.SUCCEEDED


def _retry(store: Store, run: Run) -> NewRun:
    wishes = submission.Wishes(owner=run.owner)
    again = submission.retry(lineage.with_successors(store, run), wishes=wishes)
    return replace(again, key=f"{run.key}:after {run.id}")
