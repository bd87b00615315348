"""The store: the only meeting point of command, dispatchers, attempts and dashboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Self

from convoy.records import (
    Artifact,
    Attempt,
    Checkpoint,
    Dispatcher,
    Filter,
    LogPiece,
    Move,
    NewRun,
    Point,
    Requests,
    Run,
)
from convoy.states import Failure, Outcome, Phase, RunState, Waiting
from jobs.job import Json


class Store:
    """SIGNATURES ONLY, the contract that the parts are built against; replaced by the real one."""

    id: str

    @classmethod
    def open(cls, url: str) -> Self:
        """Open an existing store. Raises StoreError kinds: missing, other version, locked, read-only, network file system."""
        raise NotImplementedError

    @classmethod
    def create(cls, url: str) -> Self:
        """Make the tables (or bring an older store up to date) and open it. Imports Alembic."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    # -- submitting and asking -----------------------------------------------------------------------------------
    def submit(self, runs: Sequence[NewRun]) -> list[Run]:
        """All or none, one transaction; a known key returns the first run (SubmissionError if the spec differs)."""
        raise NotImplementedError

    def request_cancel(self, run_id: int, *, reason: str = "user") -> Run:
        """Queued: cancelled at once. Running: a request. Final: IllegalMoveError."""
        raise NotImplementedError

    # -- reading ---------------------------------------------------------------------------------------------------
    def now(self) -> datetime:
        """The database's clock, UTC."""
        raise NotImplementedError

    def run(self, run_id: int) -> Run:
        raise NotImplementedError

    def runs(self, which: Filter = Filter(), *, limit: int = 100, before: int | None = None) -> list[Run]:  # noqa: B008
        """Newest first."""
        raise NotImplementedError

    def counts(self) -> Mapping[RunState, int]:
        raise NotImplementedError

    def attempts(self, run_id: int) -> list[Attempt]:
        raise NotImplementedError

    def history(self, run_id: int) -> list[Move]:
        raise NotImplementedError

    def series(self, run_id: int, names: Sequence[str] = ()) -> Mapping[str, list[Point]]:
        """Points of the run in order of step; of two attempts' points for one step the later attempt's counts."""
        raise NotImplementedError

    def log(self, run_id: int, *, after: int = 0, limit: int = 1000) -> list[LogPiece]:
        raise NotImplementedError

    def checkpoints(self, run_id: int) -> list[Checkpoint]:
        """Newest last."""
        raise NotImplementedError

    def artifacts(self, run_id: int) -> list[Artifact]:
        raise NotImplementedError

    def dispatchers(self) -> list[Dispatcher]:
        raise NotImplementedError

    # -- the dispatcher's writes -------------------------------------------------------------------------------------
    def lead(self, name: str, *, host: str, pid: int, capacity: Mapping[str, Json], lease_s: float) -> int | None:
        """Show oneself; take or keep the leader's lease. Returns the fencing term when leading, else None."""
        raise NotImplementedError

    def pending(self, *, limit: int = 1000) -> list[Run]:
        """Queued runs in the order in which the scheduler considers them (priority, then age)."""
        raise NotImplementedError

    def live_attempts(self) -> list[Attempt]:
        """Attempts that have not ended, or ended and are not yet released."""
        raise NotImplementedError

    def explain_waiting(self, reasons: Mapping[int, tuple[Waiting, str]]) -> None:
        raise NotImplementedError

    def claim(self, run_id: int, *, dispatcher: str, term: int, deadline_s: float) -> Attempt | None:
        """queued -> running, a new attempt in phase placing, its resources reserved: one transaction. None: somebody else was first."""
        raise NotImplementedError

    def release(self, run_id: int, number: int) -> None:
        """The ended attempt's resources were seen to be free on the cluster."""
        raise NotImplementedError

    def fail_queued(self, run_id: int, *, failure: Failure, text: str) -> bool:
        """End a queued run whose dependency did not succeed."""
        raise NotImplementedError

    # -- the attempt's writes: each carries its number; SupersededError when it is not the present one ---------------
    def begin(self, run_id: int, number: int, *, node: str, pid: int, environment: Mapping[str, Json], lease_s: float) -> Run:
        """placing -> starting, and the first lease. Returns the run."""
        raise NotImplementedError

    def renew(self, run_id: int, number: int, *, lease_s: float) -> Requests:
        raise NotImplementedError

    def set_phase(self, run_id: int, number: int, phase: Phase) -> None:
        raise NotImplementedError

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
        """Record progress and a batch of points (one compressed chunk a call), update last and best."""
        raise NotImplementedError

    def append_log(self, run_id: int, number: int, *, rank: int, text: str) -> None:
        raise NotImplementedError

    def add_checkpoint(self, run_id: int, number: int, *, step: int, path: str, size_mib: float) -> None:
        raise NotImplementedError

    def drop_checkpoint(self, run_id: int, path: str) -> None:
        raise NotImplementedError

    def add_artifact(self, run_id: int, number: int, *, name: str, path: str, size_mib: float) -> None:
        raise NotImplementedError

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
        """End an attempt and move its run, one transaction: SUCCEEDED with its result, CANCELLED, or, for FAILED and LOST,
        what `policy.decide` says from the history: queued again (with a pause) or failed. Also the dispatcher's call for a lost
        attempt, and the lease keeper's for a dead process. SupersededError when it is not the present attempt."""
        raise NotImplementedError
