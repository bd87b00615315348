"""A `JobContext` for tests: real folders, everything else remembered in memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jobs.job import Parent


@dataclass(frozen=True)
class Report:
    step: int
    total_steps: int
    metrics: Mapping[str, float]
    epoch: int | None


@dataclass
class FolderContext:
    """Keeps checkpoints under `root`; asks to stop once `stop_at_step` steps were reported."""

    root: Path
    rank: int = 0
    world_size: int = 1
    device: str = "cpu"
    threads: int = 1
    stop_at_step: int | None = None
    kill_at_save: int | None = None
    reports: list[Report] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    saves: list[int] = field(default_factory=list)
    parents: dict[int, Parent] = field(default_factory=dict)

    @property
    def workdir(self) -> Path:
        return self._folder("work")

    @property
    def cache(self) -> Path:
        return self._folder("cache")

    def status(self, text: str) -> None:
        self.statuses.append(text)

    def report(
        self,
        *,
        step: int,
        total_steps: int,
        metrics: Mapping[str, float],
        epoch: int | None = None,
    ) -> None:
        self.reports.append(Report(step, total_steps, dict(metrics), epoch))

    def save(self, *, step: int, write: Callable[[Path], None]) -> None:
        self.saves.append(step)
        if self.rank == 0:
            aside = self._folder("checkpoints") / "aside"
            aside.mkdir()
            write(aside)
            latest = self._latest
            shutil.rmtree(latest, ignore_errors=True)
            aside.rename(latest)
        if self.kill_at_save == len(self.saves):
            raise KilledError

    def resume(self) -> Path | None:
        return self._latest if self._latest.is_dir() else None

    def parent(self, run_id: int) -> Parent:
        return self.parents[run_id]

    def keep(self, path: Path, *, name: str) -> None:
        target = self._folder("kept") / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)

    def stop_requested(self) -> str | None:
        steps = self.reports[-1].step if self.reports else 0
        return "user" if self.stop_at_step is not None and steps >= self.stop_at_step - 1 else None

    def series(self, name: str) -> list[float]:
        return [report.metrics[name] for report in self.reports if name in report.metrics]

    @property
    def _latest(self) -> Path:
        return self._folder("checkpoints") / "latest"

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


class KilledError(BaseException):
    """Stands for a death right after a checkpoint."""
