"""Look into a run's network at a checkpoint: attention and maps. Torch is loaded when asked."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from backbones.attention_map import offering, offers
from backbones.errors import BackboneError
from convoy.errors import ConvoyError
from convoy.records import Checkpoint, Run
from convoy.settings import Settings
from convoy.storage import Storage
from jobs.classify import ClassifySpec
from jobs.data import source
from jobs.data.picture import Picture
from jobs.errors import DatasetError
from jobs.job import read_spec

if TYPE_CHECKING:
    from jobs.classify.attention import Attention
    from jobs.classify.subject import Subject

KIND = "classify"
"""Kind of the runs whose checkpoints hold a network with its schedules."""


def can_attend(run: Run) -> bool:
    """Return whether the network of a run weighs something that can be shown. No torch."""
    try:
        return run.kind == KIND and offers(run.backbone)
    except BackboneError:  # a method or network that was here when the run was submitted
        return False


def require_attention(run: Run) -> None:
    """Refuse a run whose network weighs nothing by the image.

    Raises:
        ConvoyError: Says which methods do.
    """
    if not can_attend(run):
        raise ConvoyError(
            f"run {run.id} ({run.kind} of {run.backbone or 'no backbone'}) has no attention "
            f"to show; {KIND} runs with these methods have: {', '.join(offering())}"
        )


def has_maps(run: Run) -> bool:
    """Return whether the network of a run makes maps of images. No torch."""
    return run.kind == KIND


def require_maps(run: Run) -> None:
    """Refuse a run whose network makes no maps of images.

    Raises:
        ConvoyError: Says which runs do.
    """
    if not has_maps(run):
        raise ConvoyError(
            f"run {run.id} ({run.kind} of {run.backbone or 'no backbone'}) keeps no network whose "
            f"feature maps could be shown; {KIND} runs do"
        )


def classes_at_hand(data: str, settings: Settings) -> tuple[str, ...]:
    """Name the classes of a data set, if it is on this machine; else nothing. No torch."""
    folder = source.at_hand(data, _cache(settings))
    try:
        return source.class_names(folder) if folder else ()
    except DatasetError:
        return ()


def scored_pictures(
    run: Run, settings: Settings, *, count: int, class_name: str = ""
) -> list[Picture]:
    """Return the first images that a run is scored on, the classes in turn.

    Args:
        run: Of the kind `KIND`.
        settings: Of this installation.
        count: How many at most.
        class_name: Only images of this class; empty: of all.

    Raises:
        JobError: The data are not here.
    """
    from jobs.classify import attention  # loads torch

    return attention.scored_pictures(
        _spec(run), cache=_cache(settings), count=count, class_name=class_name
    )


def choose_checkpoint(
    checkpoints: Sequence[Checkpoint], *, run_id: int, step: int | None
) -> Checkpoint:
    """Return the newest checkpoint, or the one of a step.

    Raises:
        ConvoyError: There is none; names those that are kept.
    """
    if not checkpoints:
        raise ConvoyError(f"no checkpoint of run {run_id} is kept")
    found = [one for one in checkpoints if step in (None, one.step)]
    if not found:
        kept = ", ".join(str(one.step) for one in checkpoints)
        raise ConvoyError(f"run {run_id} keeps no checkpoint of step {step}; kept: {kept}")
    return found[-1]


def attend(
    run: Run,
    checkpoint: Checkpoint,
    pictures: Sequence[Picture],
    *,
    settings: Settings,
    as_scored: bool = False,
) -> Attention:
    """Show images to the network of a checkpoint.

    Args:
        run: The run.
        checkpoint: One of its checkpoints.
        pictures: At least one.
        settings: Of this installation.
        as_scored: With temperatures as they stood at the checkpoint; else as they end.

    Raises:
        StorageError: The checkpoint is gone or does not match its checksums.
        JobError: An image cannot be read, or the checkpoint does not fit.
        ConvoyError: The network of the run weighs nothing by the image.
    """
    require_attention(run)
    from jobs.classify import attention  # loads torch

    with _fetched(checkpoint, settings) as local:
        found = attention.look(
            _spec(run),
            local,
            pictures,
            cache=_cache(settings),
            classes=_classes(run),
            total_steps=run.total_steps if as_scored else None,
        )
    if not found.maps:
        raise ConvoyError(
            f"run {run.id} ({run.backbone}) has no attention to show: with these settings no layer "
            "weighs anything by the image, such as several kernels"
        )
    return found


def open_network(
    run: Run, checkpoint: Checkpoint, pictures: Sequence[Picture], *, settings: Settings
) -> Subject:
    """Read the network of a checkpoint as it was scored, with images ready for it.

    Args:
        run: Of the kind `KIND`.
        checkpoint: One of its checkpoints.
        pictures: At least one.
        settings: Of this installation.

    Raises:
        StorageError: The checkpoint is gone or does not match its checksums.
        JobError: An image cannot be read, or the checkpoint does not fit.
        ConvoyError: The run is of another kind.
    """
    require_maps(run)
    from jobs.classify import subject  # loads torch

    with _fetched(checkpoint, settings) as local:
        return subject.prepare(
            _spec(run),
            local,
            pictures,
            cache=_cache(settings),
            classes=_classes(run),
            total_steps=run.total_steps or None,
        )


@contextmanager
def _fetched(checkpoint: Checkpoint, settings: Settings) -> Iterator[Path]:
    """Have a verified copy of a checkpoint for a while."""
    with tempfile.TemporaryDirectory(prefix="convoy-") as folder:
        yield Storage(settings.storage_url).fetch(checkpoint.path, into=Path(folder))


def _classes(run: Run) -> int | None:
    """Return how many classes a finished run found, None of another one."""
    classes: int | None = (run.result or {}).get("facts", {}).get("classes")
    return classes


def _spec(run: Run) -> ClassifySpec:
    return cast("ClassifySpec", read_spec(run.kind, run.spec))


def _cache(settings: Settings) -> Path:
    return settings.cache or settings.home / "cache"
