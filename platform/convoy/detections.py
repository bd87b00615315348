"""What a finished detection run keeps to look at: pictures of what it found. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from convoy.errors import ConvoyError
from convoy.records import Artifact, Run
from convoy.settings import Settings
from convoy.storage import Storage
from detection.errors import DetectionError
from detection.sample import LIST, Sample, read_list
from jobs.data.picture import Picture

if TYPE_CHECKING:
    from PIL.Image import Image

KIND = "detect"
"""Kind of the runs that keep such pictures."""


def has_detections(run: Run) -> bool:
    """Return whether a run finds things on images."""
    return run.kind == KIND


def samples(artifacts: Sequence[Artifact], settings: Settings) -> tuple[Sample, ...]:
    """Read which pictures a run keeps; none before its last epoch.

    Args:
        artifacts: Of the run.
        settings: Of this installation.

    Raises:
        ConvoyError: They are recorded, and their list is gone or broken.
    """
    if not any(artifact.name == LIST for artifact in artifacts):
        return ()
    try:
        return read_list(_content(artifacts, LIST, settings).decode())
    except (DetectionError, UnicodeDecodeError) as error:
        raise ConvoyError(f"{LIST} of run {artifacts[0].run_id} is broken: {error}") from error


def picture(artifacts: Sequence[Artifact], sample: Sample, settings: Settings) -> Image:
    """Read one picture.

    Args:
        artifacts: Of the run.
        sample: One of its `samples`.
        settings: Of this installation.

    Raises:
        ConvoyError: It is gone.
        DatasetError: It is broken.
    """
    return Picture(sample.file, _content(artifacts, sample.file, settings)).decode()


def save(artifacts: Sequence[Artifact], folder: Path, *, settings: Settings) -> list[Path]:
    """Copy the pictures of a run into a folder.

    Args:
        artifacts: Of the run.
        folder: Made when it is not there; pictures of the same names are replaced.
        settings: Of this installation.

    Raises:
        ConvoyError: None are kept, one is gone, or the folder cannot be written.
    """
    kept = samples(artifacts, settings)
    if not kept:
        raise ConvoyError(
            "this run keeps no pictures; detect runs keep some once their last epoch is scored"
        )
    files = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for sample in kept:
            file = folder / Path(sample.file).name
            file.write_bytes(_content(artifacts, sample.file, settings))
            files.append(file)
    except OSError as error:
        raise ConvoyError(f"cannot write pictures into {folder}: {error.strerror}") from error
    return files


def _content(artifacts: Sequence[Artifact], name: str, settings: Settings) -> bytes:
    """Read an artifact as the last attempt that kept it left it."""
    kept = [artifact for artifact in artifacts if artifact.name == name]
    if not kept:
        raise ConvoyError(f"run {artifacts[0].run_id} keeps no {name}")
    newest = max(kept, key=lambda artifact: artifact.attempt)
    content = Storage(settings.storage_url).read(newest.path)
    if content is None:
        raise ConvoyError(
            f"{name} of run {newest.run_id} is gone: nothing is at {newest.path} in the storage"
        )
    return content
