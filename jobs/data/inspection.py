"""What a run would find in a data set before it starts, for people who want to know it earlier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jobs.data import source, verdict
from jobs.data.coco import layout
from jobs.data.coco.scenes import check_scenes
from jobs.data.imagefolder import SPLITS
from jobs.data.source import Task
from jobs.errors import DatasetError

Say = Callable[[str], None]

_MAX_BAD_PCT = 1.0
"""As `ClassifySpec.max_bad_pct` has it when nobody says."""


@dataclass(frozen=True)
class Inspection:
    """What there is, and what is wrong with it.

    Attributes:
        task: For which kind of run the data are.
        fingerprint: As results carry it.
        classes: Names of classes or categories.
        counts: What is used of each split, such as ``train images``.
        refusal: Why a run would not start unless told to go on; empty when it would.
        faults: All that was found, however harmless, one a line.
    """

    task: Task
    fingerprint: str
    classes: tuple[str, ...]
    counts: Mapping[str, int]
    refusal: str
    faults: tuple[str, ...]


def inspect(reference: str, *, cache: Path, threads: int, status: Say) -> Inspection:
    """Read all of a data set once, or recall what that told before.

    Args:
        reference: As `source.canonical` returns it.
        cache: Folder in which embedded sets and verdicts are kept.
        threads: Images read at once.
        status: Told in words how far it is.

    Raises:
        DatasetError: There is nothing that a run could use at all.
    """
    folder = source.locate(reference, cache)
    if not folder.is_dir():
        source.precheck(reference)
    if layout.is_coco(folder):
        return _of_scenes(folder, cache=cache, threads=threads, status=status)
    return _of_images(folder, cache=cache, threads=threads, status=status)


def _of_images(folder: Path, *, cache: Path, threads: int, status: Say) -> Inspection:
    listing = source.read_listing(folder)
    found = verdict.inspect(listing, cache=cache, threads=threads, status=status)
    refusal, used = "", listing
    try:
        used = verdict.drop_bad(listing, found, max_bad_pct=_MAX_BAD_PCT)
    except DatasetError as error:
        refusal = str(error)
    return Inspection(
        task="classify",
        fingerprint=found.fingerprint,
        classes=listing.classes,
        counts={f"{split} images": len(used.split(split)) for split in SPLITS},
        refusal=refusal,
        faults=tuple(f"{path}: {reason}" for path, reason in found.bad.items()),
    )


def _of_scenes(folder: Path, *, cache: Path, threads: int, status: Say) -> Inspection:
    checked = check_scenes(folder, skip_bad=True, cache=cache, threads=threads, status=status)
    refusal = ""
    if checked.report.skipping():
        refusal = (
            f"{checked.skipped_images:,} images and {checked.skipped_objects:,} objects cannot be "
            "used; mend them, or let runs go on without them (--skip-bad)"
        )
    splits = {"train": checked.train, "val": checked.val}
    counts = {
        f"{split} {what}": number
        for split, files in splits.items()
        for what, number in (("images", files.count), ("objects", files.objects))
    }
    return Inspection(
        task="detect",
        fingerprint=checked.fingerprint,
        classes=checked.categories,
        counts=counts,
        refusal=refusal,
        faults=tuple(checked.report.lines()),
    )
