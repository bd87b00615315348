"""Take the weights out of a run's checkpoint. Torch is loaded when asked."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from convoy.errors import ConvoyError
from convoy.inspection import choose_checkpoint
from convoy.records import Checkpoint, Run
from convoy.settings import Settings
from convoy.storage import MIB, Storage
from jobs.job import read_spec

if TYPE_CHECKING:
    from jobs.classify import ClassifySpec
    from jobs.detect import DetectSpec
    from jobs.training.state import Progress

CLASSIFY, DETECT = "classify", "detect"

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
    """Write the network or the detector of a checkpoint as safetensors.

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
    write = _write_detector if run.kind == DETECT else _write_classifier
    with tempfile.TemporaryDirectory(prefix="convoy-") as folder:
        local = Storage(settings.storage_url).fetch(checkpoint.path, into=Path(folder))
        progress = write(run, local, file)
    facts = (run.result or {}).get("facts", {})
    return Written(
        file=str(file),
        backbone=run.backbone,
        classes=facts["classes"],
        epoch=progress.epoch,
        step=progress.steps,
        ema=bool(facts.get("ema")),
        mib=file.stat().st_size / MIB,
    )


def _write_classifier(run: Run, checkpoint: Path, file: Path) -> Progress:
    from jobs.classify.scored import export as write  # loads torch

    spec = cast("ClassifySpec", read_spec(run.kind, run.spec))
    classes = (run.result or {})["facts"]["classes"]
    return write(spec, checkpoint, file, classes=classes, total_steps=run.total_steps or 0)


def _write_detector(run: Run, checkpoint: Path, file: Path) -> Progress:
    from jobs.detect.exporting import export as write  # loads torch and mmdetection

    spec = cast("DetectSpec", read_spec(run.kind, run.spec))
    facts = (run.result or {})["facts"]
    return write(spec, checkpoint, file, classes=facts["classes"], built_for=facts.get("built_for"))


def _require(run: Run, file: Path, *, replace: bool) -> None:
    if run.kind not in {CLASSIFY, DETECT}:
        raise ConvoyError(
            f"run {run.id} is a {run.kind}; only {CLASSIFY} and {DETECT} runs have weights to "
            "export"
        )
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
