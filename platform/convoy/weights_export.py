"""Take the weights out of a run's checkpoint. Torch is loaded when asked."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from convoy.errors import ConvoyError
from convoy.inspection import KIND, choose_checkpoint
from convoy.records import Checkpoint, Run
from convoy.settings import Settings
from convoy.storage import MIB, Storage
from jobs.classify import ClassifySpec
from jobs.job import read_spec

SUFFIX = ".safetensors"
"""How the file is named, since other programs go by that."""


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        file: Where.
        backbone: Canonical text.
        classes: Width of the classifier.
        epoch: Epochs that these weights were trained for.
        step: Optimiser steps.
        ema: Whether they are averaged, as the run is scored.
        mib: Size of the file, MiB.
    """

    file: str
    backbone: str
    classes: int
    epoch: int
    step: int
    ema: bool
    mib: float


def export(
    run: Run,
    checkpoints: Sequence[Checkpoint],
    file: Path,
    *,
    settings: Settings,
    step: int | None = None,
    replace: bool = False,
) -> Written:
    """Write the network of a checkpoint as safetensors.

    Args:
        run: The run.
        checkpoints: All that are kept of it, newest last.
        file: Where; its folder exists.
        settings: Of this installation.
        step: Of the checkpoint; None: the newest.
        replace: Whether a file that is there may go.

    Raises:
        ConvoyError: The run has no such weights, or the file is there.
        StorageError: The checkpoint is gone or does not match its checksums.
        JobError: The checkpoint does not fit the network of the run.
    """
    _require(run, file, replace=replace)
    checkpoint = choose_checkpoint(checkpoints, run_id=run.id, step=step)
    from jobs.classify.scored import export as write  # loads torch

    spec = cast("ClassifySpec", read_spec(run.kind, run.spec))
    facts = (run.result or {}).get("facts", {})
    with tempfile.TemporaryDirectory(prefix="convoy-") as folder:
        local = Storage(settings.storage_url).fetch(checkpoint.path, into=Path(folder))
        progress = write(
            spec, local, file, classes=facts["classes"], total_steps=run.total_steps or 0
        )
    return Written(
        file=str(file),
        backbone=spec.backbone,
        classes=facts["classes"],
        epoch=progress.epoch,
        step=progress.steps,
        ema=spec.recipe.ema is not None,
        mib=file.stat().st_size / MIB,
    )


def _require(run: Run, file: Path, *, replace: bool) -> None:
    if run.kind != KIND:
        raise ConvoyError(f"run {run.id} is a {run.kind}; only {KIND} runs have weights to export")
    if not run.state.is_final or not run.result:
        raise ConvoyError(
            f"run {run.id} is {run.state}; its weights are exported once it succeeded"
        )
    if file.suffix != SUFFIX:
        raise ConvoyError(f"{file} would hold safetensors; name it {file.with_suffix(SUFFIX).name}")
    if file.exists() and not replace:
        raise ConvoyError(f"{file} is there already; name another file, or say --force")
    if not file.absolute().parent.is_dir():
        raise ConvoyError(f"no folder {file.absolute().parent}; make it first")
