"""What a run may ask of the world (`jobs.job.JobContext`), answered by store and storage."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from convoy.errors import StorageError
from convoy.execution.ancestry import candidates, parent_of
from convoy.execution.ranks import Ranks
from convoy.execution.reporting import Reporter
from convoy.records import Run
from convoy.states import Phase
from convoy.storage import RunPaths, Storage
from convoy.store import Store
from jobs.job import Parent

logger = logging.getLogger(__name__)

STOP_FILE_S = 1.0
"""How often several workers look whether their attempt was asked to stop by a signal."""


class AttemptContext:
    """The context of one worker of one attempt; fulfils `JobContext`.

    Only rank 0 writes progress, checkpoints and artifacts. `close` sends what is still to be sent.

    Attributes:
        resumed_step: Step of the checkpoint that was handed to the run, or None.
        saved_step: Step of the last checkpoint of this attempt, or None.
    """

    def __init__(
        self,
        *,
        store: Store,
        storage: Storage,
        run: Run,
        workdir: Path,
        cache: Path,
        device: str = "cpu",
        ranks: Ranks | None = None,
        keep_checkpoints: int = 2,
    ) -> None:
        self.resumed_step: int | None = None
        self.saved_step: int | None = None
        self._store = store
        self._storage = storage
        self._run = run
        self._paths = RunPaths(run.id)
        self._workdir = workdir
        self._cache = cache
        self._device = device
        self._ranks = ranks or Ranks(rank=0, world_size=1)
        self._keep = keep_checkpoints
        self._interruption = ""
        self._answered = False
        self._stop_file_at_s = 0.0
        self._reporter = Reporter(store, run.id, run.attempt)
        if self.rank == 0:
            self._reporter.start()

    @property
    def workdir(self) -> Path:
        """Folder of this attempt and rank; gone after the attempt."""
        return self._workdir

    @property
    def cache(self) -> Path:
        """Folder of this machine that outlives runs."""
        self._cache.mkdir(parents=True, exist_ok=True)
        return self._cache

    @property
    def rank(self) -> int:
        """Which of the workers this is, from 0."""
        return self._ranks.rank

    @property
    def world_size(self) -> int:
        """How many workers there are."""
        return self._ranks.world_size

    @property
    def device(self) -> str:
        """``cpu``, or the worker's GPU, such as ``cuda:0``."""
        return self._device

    @property
    def threads(self) -> int:
        """Torch threads of this worker."""
        return max(1, int(self._run.resources.cpus))

    def status(self, text: str) -> None:
        """Say what is going on outside of steps."""
        if self.rank == 0:
            self._reporter.status(text)

    def report(
        self,
        *,
        step: int,
        total_steps: int,
        metrics: Mapping[str, float],
        epoch: int | None = None,
    ) -> None:
        """Tell how far the run is; cheap.

        Raises:
            SupersededError: Another attempt has this one's place.
        """
        if self.rank == 0:
            self._reporter.report(step=step, total_steps=total_steps, metrics=metrics, epoch=epoch)

    def save(self, *, step: int, write: Callable[[Path], None]) -> None:
        """Publish a checkpoint whole, record it, and drop the oldest beyond what is kept.

        Raises:
            StorageError: No space or no permission.
            SupersededError: Another attempt has this one's place.
        """
        if self.rank != 0 or step == self.saved_step:
            return
        self._reporter.raise_fault()
        path = self._paths.checkpoint(self._run.attempt, step)
        with self._storage.publishing(path) as folder:
            write(folder)
        self.saved_step = step
        size_mib = self._storage.size_mib(path)
        self._reporter.later(lambda: self._record(step, path, size_mib))

    def resume(self) -> Path | None:
        """Return the newest checkpoint of the run, or of the run it takes up, that is intact."""
        found = self._ranks.told(self._newest_intact() if self.rank == 0 else None)
        if found is None:
            return None
        self.resumed_step = int(found.rsplit("/", 1)[1])
        logger.info("resuming from %s", found)
        return self._storage.fetch(found, into=self._workdir)

    def parent(self, run_id: int) -> Parent:
        """Return a run that this one starts from, its last checkpoint verified.

        Raises:
            SpecError: It did not succeed, or keeps no checkpoint.
            StorageError: The checkpoint is gone or does not match its checksums.
        """
        return parent_of(self._store, self._storage, run_id, into=self._workdir)

    def keep(self, path: Path, *, name: str) -> None:
        """Keep a file as an artifact of the run.

        Raises:
            StorageError: No space or no permission.
        """
        if self.rank != 0:
            return
        target = self._paths.artifact(self._run.attempt, name)
        size_mib = self._storage.put(path, name=target)
        who = (self._run.id, self._run.attempt)
        self._reporter.later(
            lambda: self._store.add_artifact(*who, name=name, path=target, size_mib=size_mib)
        )

    def stop_requested(self) -> str | None:
        """Return why to save and stop; the same on every rank.

        Raises:
            SupersededError: Another attempt has this one's place.
        """
        mine = self._stop_reason() if self.rank == 0 else ""
        reason = self._ranks.told_at_times(mine or None)
        if reason and not self._answered:
            self._answered = True
            if self.rank == 0:
                who = (self._run.id, self._run.attempt)
                self._reporter.later(lambda: self._store.set_phase(*who, Phase.STOPPING))
        return reason

    def interrupt(self, reason: str) -> None:
        """Ask the run to save and stop; its other workers learn it through the storage."""
        self._interruption = reason
        if self._run.resources.workers > 1:
            self._storage.write_text(self._paths.stop(self._run.attempt), reason)

    def close(self) -> None:
        """Send what is still to be sent."""
        if self.rank == 0:
            self._reporter.close()

    def sweep(self) -> None:
        """Remove what earlier attempts left half-written or unrecorded."""
        cited = {checkpoint.path for checkpoint in self._store.checkpoints(self._run.id)}
        for number in range(1, self._run.attempt):
            for path in self._storage.names(self._paths.checkpoints(number)):
                if path not in cited:
                    logger.info("removing %s: no checkpoint of that name is recorded", path)
                    self._storage.remove(path)

    def _stop_reason(self) -> str:
        now_s = time.monotonic()
        if self.world_size > 1 and now_s > self._stop_file_at_s + STOP_FILE_S:
            self._stop_file_at_s = now_s
            found = self._storage.read_text(self._paths.stop(self._run.attempt))
            self._interruption = found or self._interruption
        return self._reporter.stop_reason() or self._interruption

    def _record(self, step: int, path: str, size_mib: float) -> None:
        run = self._run
        self._store.add_checkpoint(run.id, run.attempt, step=step, path=path, size_mib=size_mib)
        for old in self._store.checkpoints(run.id)[: -self._keep]:
            self._store.drop_checkpoint(run.id, old.path, number=run.attempt)
            self._storage.remove(old.path)

    def _newest_intact(self) -> str | None:
        for checkpoint in candidates(self._store, self._run.id):
            try:
                local = self._storage.fetch(checkpoint.path, into=self._workdir)
            except StorageError as error:
                logger.warning("checkpoint of step %d is skipped: %s", checkpoint.step, error)
                continue
            if self._storage.folder is None:
                shutil.rmtree(local)
            return checkpoint.path
        return None
