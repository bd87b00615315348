"""Reads a COCO folder whole and keeps the verdict, with annotation files that were mended."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from jobs.data.coco.faults import Fault, Findings, Report
from jobs.data.coco.images import Image, Record, check_images, has_id
from jobs.data.coco.layout import (
    Place,
    checked_categories,
    image_files,
    read_document,
    require_same,
)
from jobs.data.coco.objects import Surroundings, check_objects
from jobs.data.coco.progress import Progress
from jobs.data.imagefolder import Split
from jobs.errors import DatasetError

_FILE = "verdict.json"


class SplitVerdict(BaseModel):
    """What reading a split told.

    Attributes:
        images: Images that can be used.
        objects: Objects that can be used, crowds among them.
        crowds: Crowds that can be used.
        skipped_images: Listed images that cannot.
        skipped_objects: Listed objects that cannot, or whose image cannot.
        rewritten: Whether the verdict's folder has an annotation file of its own for the split.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int
    objects: int
    crowds: int
    skipped_images: int
    skipped_objects: int
    rewritten: bool


class ScenesVerdict(BaseModel):
    """What reading a COCO folder told.

    Attributes:
        fingerprint: Hash (16 hex digits) over what can be used.
        categories: Names in the order of their ids.
        train: Of the training images.
        val: Of the validation images.
        report: Faults of both.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    categories: tuple[str, ...]
    train: SplitVerdict
    val: SplitVerdict
    report: Report

    @classmethod
    def recall(cls, folder: Path) -> Self | None:
        """Return the verdict that a folder holds, None of one that holds none of this version."""
        try:
            return cls.model_validate_json((folder / _FILE).read_text("utf-8"))
        except (OSError, ValidationError):
            return None

    def splits(self) -> Mapping[Split, SplitVerdict]:
        """Return both verdicts by name."""
        return {"train": self.train, "val": self.val}


@dataclass(frozen=True)
class _Reading:
    """A split that was read.

    Attributes:
        verdict: What that told.
        categories: Names by id.
        digest: Hash over what can be used.
        contents: Name of each image by the hash of its file.
        findings: Faults.
    """

    verdict: SplitVerdict
    categories: Mapping[int, str]
    digest: str
    contents: Mapping[str, str]
    findings: Findings


def read_scenes(
    both: tuple[Place, Place],
    *,
    folder: Path,
    masks: bool,
    threads: int,
    status: Callable[[str], None],
) -> ScenesVerdict:
    """Read train and val, and write the verdict.

    Args:
        both: Where they are.
        folder: Where the verdict goes, with annotation files that were mended; made whole, so
            several may do so at once.
        masks: Whether objects need a mask.
        threads: Images read at once.
        status: Told in words how far it is.

    Raises:
        DatasetError: An annotation file is no JSON, or has no lists.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        train, val = (
            _read_split(place, aside=aside, masks=masks, threads=threads, status=status)
            for place in both
        )
        for sha256 in sorted(train.contents.keys() & val.contents.keys()):
            found = f"{train.contents[sha256]} and {val.contents[sha256]}"
            train.findings.add(Fault.IN_BOTH, found)
        require_same(both[0].annotations.parents[1], train=train.categories, val=val.categories)
        verdict = ScenesVerdict(
            fingerprint=hashlib.sha256(f"{train.digest} {val.digest}".encode()).hexdigest()[:16],
            categories=tuple(train.categories.values()),
            train=train.verdict,
            val=val.verdict,
            report=Report(findings=train.findings.all() + val.findings.all()),
        )
        (aside / _FILE).write_text(verdict.model_dump_json(), "utf-8")
        _put_in_place(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return verdict


def _put_in_place(aside: Path, folder: Path) -> None:
    aside.chmod(0o755)
    try:
        aside.rename(folder)
    except OSError:
        if ScenesVerdict.recall(folder) is None:  # of another version of this program
            shutil.rmtree(folder)
            aside.rename(folder)


def _read_split(
    place: Place, *, aside: Path, masks: bool, threads: int, status: Callable[[str], None]
) -> _Reading:
    status(f"reading {place.annotations.name}")
    document = read_document(place.annotations)
    listed = {
        name: _listed(document, name, file=place.annotations) for name in ("images", "annotations")
    }
    categories = checked_categories(document.get("categories"), place.annotations)
    findings = Findings(place.split)
    images = check_images(
        listed["images"],
        folder=place.images,
        threads=threads,
        findings=findings,
        told=Progress(len(listed["images"]), f"images of {place.split}", status=status).tell,
    )
    left_out = {one["id"] for one in listed["images"] if has_id(one)} - images.keys()
    objects = check_objects(
        listed["annotations"],
        Surroundings(images, left_out=left_out, categories=categories, masks=masks),
        findings=findings,
        told=Progress(len(listed["annotations"]), f"objects of {place.split}", status=status).tell,
    )
    _tell_unlisted(place, listed["images"], findings=findings)
    _tell_empty(images, objects=objects, categories=categories, findings=findings)
    return _Reading(
        verdict=SplitVerdict(
            images=len(images),
            objects=len(objects),
            crowds=sum(bool(one["iscrowd"]) for one in objects),
            skipped_images=len(listed["images"]) - len(images),
            skipped_objects=len(listed["annotations"]) - len(objects),
            rewritten=_rewrite(
                document,
                {"images": [one.record for one in images.values()], "annotations": objects},
                file=aside / place.annotations.name,
            ),
        ),
        categories=categories,
        digest=_digest(images, objects=objects, categories=categories),
        contents={image.sha256: image.name for image in images.values()},
        findings=findings,
    )


def _rewrite(document: Mapping[str, Any], kept: Mapping[str, object], *, file: Path) -> bool:
    """Write an annotation file with what is kept, if that is not what there was."""
    if all(kept[name] == document[name] for name in kept):
        return False
    with file.open("w", encoding="utf-8") as opened:
        json.dump({**document, **kept}, opened)
    return True


def _listed(document: Mapping[str, Any], name: str, *, file: Path) -> list[Any]:
    found = document.get(name)
    if not isinstance(found, list):
        raise DatasetError(
            f"{file} has no list of {name}; found {', '.join(document) or 'nothing'}"
        )
    return found


def _tell_unlisted(place: Place, listed: Iterable[Any], *, findings: Findings) -> None:
    named = {str(one.get("file_name")) for one in listed if isinstance(one, dict)}
    for name in sorted(name for name, _ in image_files(place.images) if name not in named):
        findings.add(Fault.UNLISTED, name)


def _tell_empty(
    images: Mapping[int, Image],
    *,
    objects: Sequence[Record],
    categories: Mapping[int, str],
    findings: Findings,
) -> None:
    used = {one["image_id"] for one in objects}
    for number, image in images.items():
        if number not in used:
            findings.add(Fault.NO_OBJECTS, image.name)
    shown = {one["category_id"] for one in objects if not one["iscrowd"]}
    for number, name in categories.items():
        if number not in shown:
            findings.add(Fault.CATEGORY_UNUSED, name)


def _digest(
    images: Mapping[int, Image], *, objects: Iterable[Record], categories: Mapping[int, str]
) -> str:
    """Return a hash of what a split holds, whatever its ids and order."""
    of_image: dict[int, list[str]] = defaultdict(list)
    for one in objects:
        content = [
            categories[one["category_id"]],
            int(one["iscrowd"]),
            *(one.get(name) for name in ("bbox", "area", "segmentation")),
        ]
        entry = json.dumps(content, sort_keys=True, separators=(",", ":"))
        of_image[one["image_id"]].append(hashlib.sha256(entry.encode()).hexdigest())
    entries = [
        json.dumps([image.name, image.sha256, *image.size, *sorted(of_image[number])])
        for number, image in images.items()
    ]
    names = json.dumps(sorted(categories.values()))
    return hashlib.sha256("\n".join([names, *sorted(entries)]).encode()).hexdigest()
