"""The check of a COCO folder: what of it a run may use, and what is wrong with the rest.

Every image is decoded and every object looked at once; what was found is kept in a cache under a
cheap signature of the files (path, size, time of change), so that only a changed folder is read
again. Where something was mended or left out, annotation files that say so lie beside it. The
fingerprint is over what is used: names, contents and sizes of images, and the category, box, area,
mask and crowd flag of each object, in sorted order. Ids do not matter to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jobs.data.alone import alone
from jobs.data.coco.faults import Report
from jobs.data.coco.layout import Place, category_names, image_files, places
from jobs.data.coco.reading import ScenesVerdict, SplitVerdict, read_scenes
from jobs.data.imagefolder import Split
from jobs.errors import DatasetError

_FORMAT = "convoy-scenes-2"
_FOLDER = "scenes"


@dataclass(frozen=True)
class SplitFiles:
    """What a split is read from.

    Attributes:
        annotations: Annotation file: the data set's own, or one in the cache that was mended.
        images: Folder below which its images are.
        count: Images in it.
        objects: Objects in it, crowds too.
        skipped_images: Images that were left out.
        skipped_objects: Objects that were left out, those of images left out among them.
    """

    annotations: Path
    images: Path
    count: int
    objects: int
    skipped_images: int
    skipped_objects: int


@dataclass(frozen=True)
class Checked:
    """What a run may use of a COCO folder.

    Attributes:
        fingerprint: Hash (16 hex digits) over what is used.
        categories: Names in the order of their ids.
        train: Training images.
        val: Validation images.
        report: What was found, however harmless.
    """

    fingerprint: str
    categories: tuple[str, ...]
    train: SplitFiles
    val: SplitFiles
    report: Report

    @property
    def skipped_images(self) -> int:
        """Images of both splits that were left out."""
        return self.train.skipped_images + self.val.skipped_images

    @property
    def skipped_objects(self) -> int:
        """Objects of both splits that were left out."""
        return self.train.skipped_objects + self.val.skipped_objects


def check_scenes(
    root: Path,
    *,
    skip_bad: bool,
    cache: Path,
    threads: int,
    status: Callable[[str], None],
    masks: bool = True,
) -> Checked:
    """Read everything once, or recall what that told before.

    Args:
        root: The COCO folder.
        skip_bad: Whether images and objects that cannot be used are left out; else they end it.
        cache: Folder in which verdicts are kept.
        threads: Images read at once.
        status: Told in words how far it is.
        masks: Whether objects need a mask (Mask R-CNN), or only a box (Faster R-CNN).

    Raises:
        DatasetError: The layout is wrong, the categories of train and val differ, something cannot
            be used and `skip_bad` is not set, or nothing is left; with counts and examples.
    """
    category_names(root)
    train, val = places(root)
    folder = cache / _FOLDER / _signature((train, val), masks=masks)
    with alone(folder.name, cache=cache):
        verdict = ScenesVerdict.recall(folder) or read_scenes(
            (train, val), folder=folder, masks=masks, threads=threads, status=status
        )
    if verdict.report.skipping() and not skip_bad:
        raise DatasetError(_refusal(root, verdict))
    _require_enough(root, verdict)
    return Checked(
        fingerprint=verdict.fingerprint,
        categories=verdict.categories,
        train=_files(train, verdict.train, folder=folder),
        val=_files(val, verdict.val, folder=folder),
        report=verdict.report,
    )


def _signature(both: tuple[Place, Place], *, masks: bool) -> str:
    digest = hashlib.sha256(f"{_FORMAT} {masks}".encode())
    for place in both:
        info = place.annotations.stat()
        digest.update(f"{place.split}\0{info.st_size}\0{info.st_mtime_ns}\n".encode())
        stamps = (
            f"{name}\0{found.st_size}\0{found.st_mtime_ns}" if found else f"{name}\0none"
            for name, found in image_files(place.images)
        )
        digest.update("\n".join(sorted(stamps)).encode())
    return digest.hexdigest()[:32]


def _files(place: Place, verdict: SplitVerdict, *, folder: Path) -> SplitFiles:
    own = folder / place.annotations.name
    return SplitFiles(
        annotations=own if verdict.rewritten else place.annotations,
        images=place.images,
        count=verdict.images,
        objects=verdict.objects,
        skipped_images=verdict.skipped_images,
        skipped_objects=verdict.skipped_objects,
    )


def _refusal(root: Path, verdict: ScenesVerdict) -> str:
    totals = " and ".join(
        f"{one.skipped_images:,} of {one.images + one.skipped_images:,} images and "
        f"{one.skipped_objects:,} of {one.objects + one.skipped_objects:,} objects of {split}"
        for split, one in verdict.splits().items()
        if one.skipped_images or one.skipped_objects
    )
    lines = [f"  {finding}" for finding in verdict.report.skipping()]
    return "\n".join(
        [
            f"data folder {root}: {totals} cannot be used",
            *lines,
            "mend them, or go on without them: --skip-bad",
        ]
    )


def _require_enough(root: Path, verdict: ScenesVerdict) -> None:
    """Refuse a split with nothing to train on or to score."""
    empty: list[Split] = [
        split for split, one in verdict.splits().items() if one.objects == one.crowds
    ]
    if empty:
        told = "; ".join(str(one) for one in verdict.report.findings if one.split in empty)
        raise DatasetError(
            f"data folder {root}: no object but crowds can be used in {' and '.join(empty)}; {told}"
        )
