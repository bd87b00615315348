"""What a run goes on from: checkpoints of its own, of a run it takes up, of one it starts from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from convoy.errors import RunNotFoundError, StorageError
from convoy.execution.insistence import insist
from convoy.records import Checkpoint, Run
from convoy.states import RunState
from convoy.storage import Storage
from convoy.store import Store
from jobs.errors import SpecError
from jobs.job import Parent


def candidates(store: Store, run_id: int) -> Iterator[Checkpoint]:
    """Yield the checkpoints of a run, newest first, then those of the runs it takes up."""
    which: int | None = run_id
    while which is not None:
        number = which
        yield from reversed(insist(lambda: store.checkpoints(number)))  # noqa: B023 (called at once)
        which = insist(lambda: store.run(number)).retry_of  # noqa: B023 (called at once)


def parent_of(store: Store, storage: Storage, run_id: int, *, into: Path) -> Parent:
    """Return a run that another one starts from, with its last checkpoint.

    An older checkpoint never stands in for the last one: it would be another experiment.

    Args:
        store: Where it is recorded.
        storage: Where its files are.
        run_id: Its number.
        into: Where a copy goes when the storage is not a folder.

    Raises:
        SpecError: It does not exist, did not succeed, or keeps no checkpoint.
        StorageError: The checkpoint is gone or does not match its checksums.
    """
    run = _succeeded(store, run_id)
    last = next(candidates(store, run_id), None)
    if last is None:
        raise SpecError(
            f"run {run_id} ({run.kind}) keeps no checkpoint that this run could start from; start "
            "from another run, or from a file of weights"
        )
    try:
        folder = storage.fetch(last.path, into=into)
    except StorageError as error:
        raise StorageError(
            f"the last checkpoint of run {run_id} (step {last.step}), from which this run starts, "
            f"cannot be used: {error}; put it back, or submit with another run or a file of weights"
        ) from error
    return Parent(
        kind=run.kind,
        backbone=run.backbone,
        spec=run.spec,
        facts=(run.result or {}).get("facts", {}),
        folder=folder,
    )


def _succeeded(store: Store, run_id: int) -> Run:
    try:
        run = insist(lambda: store.run(run_id))
    except RunNotFoundError as error:
        raise SpecError(f"{error}; this run was to start from it") from error
    if run.state is not RunState.SUCCEEDED:
        step = "retry" if run.state.is_final else "wait"
        raise SpecError(
            f"run {run_id} is {run.state}, and this run starts from its last checkpoint; it must "
            f"have succeeded first (platform {step} {run_id})"
        )
    return run
