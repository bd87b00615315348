"""The images that an annotation file lists, each read and decoded once."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs.data.coco.faults import Fault, Findings
from jobs.data.verdict import reason

Record = Mapping[str, Any]
"""An image, an object or a category as it stands in an annotation file."""

_AT_ONCE = 512
_USUAL = frozenset({"JPEG", "MPO", "PNG"})
"""Formats, as Pillow calls them, that the loader of training reads as Pillow does."""
_IDS = range(2**53)
"""Numbers that scoring takes for an image: none below 0, none that it rounds."""
_ORIENTATION = 0x0112
_ON_ITS_SIDE = frozenset({5, 6, 7, 8})


@dataclass(frozen=True, slots=True)
class Image:
    """An image that can be used.

    Attributes:
        record: As listed, with width and height.
        sha256: Of the file.
    """

    record: Record
    sha256: str

    @property
    def name(self) -> str:
        """What it is called below the image folder."""
        return str(self.record["file_name"])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.record["width"], self.record["height"]


@dataclass(frozen=True, slots=True)
class _Look:
    sha256: str = ""
    size: tuple[int, int] = (0, 0)
    fault: Fault | None = None
    found: str = ""


def check_images(
    listed: Iterable[Any],
    *,
    folder: Path,
    threads: int,
    findings: Findings,
    told: Callable[[int], None],
) -> dict[int, Image]:
    """Read and decode every image that is listed.

    Args:
        listed: The images of an annotation file.
        folder: Where their files are.
        threads: Images read at once; decoding releases the interpreter's lock.
        findings: Takes the faults.
        told: Called with the number of images that are done, now and then.

    Returns:
        Those that can be used, by id.
    """
    records = list(_distinct(listed, findings).values())
    _tell_shared_files(records, findings)
    kept: dict[int, Image] = {}
    with ThreadPoolExecutor(max_workers=max(threads, 1)) as pool:
        for start in range(0, len(records), _AT_ONCE):
            told(start)
            some = records[start : start + _AT_ONCE]
            looks = pool.map(lambda record: _look(folder / record["file_name"]), some)
            for record, look in zip(some, looks, strict=True):
                if image := _judged(record, look, findings=findings):
                    kept[record["id"]] = image
    return kept


def _distinct(listed: Iterable[Any], findings: Findings) -> dict[int, Record]:
    """Return the records by id, without those that cannot be told apart."""
    first: dict[int, Record] = {}
    ambiguous: set[int] = set()
    for place, record in enumerate(listed):
        if not _is_image(record):
            findings.add(Fault.IMAGE_RECORD, f"number {place} of the list: {_short(record)}")
            continue
        number = record["id"]
        earlier = first.setdefault(number, record)
        if earlier is record:
            continue
        if earlier == record:
            findings.add(Fault.IMAGE_TWICE, f"{record['file_name']} (id {number})")
        else:
            ambiguous.add(number)
            findings.add(Fault.IMAGE_ID_TWICE, f"{record['file_name']} (id {number})")
    for number in sorted(ambiguous):
        name = first.pop(number)["file_name"]
        findings.add(Fault.IMAGE_ID_TWICE, f"{name} (id {number})")
    return first


def has_id(record: Any) -> bool:
    """Return whether something is a record with an integer for an id that scoring takes."""
    return isinstance(record, dict) and type(record.get("id")) is int and record["id"] in _IDS


def _is_image(record: Any) -> bool:
    return has_id(record) and isinstance(record.get("file_name"), str) and bool(record["file_name"])


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _tell_shared_files(records: Sequence[Record], findings: Findings) -> None:
    owners: dict[str, int] = {}
    for record in records:
        owner = owners.setdefault(record["file_name"], record["id"])
        if owner != record["id"]:
            findings.add(
                Fault.FILE_TWICE, f"{record['file_name']} (ids {owner} and {record['id']})"
            )


def _judged(record: Record, look: _Look, *, findings: Findings) -> Image | None:
    """Return the image, or None once its fault is counted."""
    name = record["file_name"]
    if look.fault:
        findings.add(look.fault, f"{name}: {look.found}" if look.found else name)
        return None
    width, height = look.size
    said = record.get("width"), record.get("height")
    if said == (None, None):
        findings.add(Fault.IMAGE_UNSIZED, f"{name}: {width} x {height}")
        return Image({**record, "width": width, "height": height}, look.sha256)
    if said != look.size:
        turned = " (as its EXIF orientation turns it)" if look.found else ""
        findings.add(
            Fault.IMAGE_SIZE,
            f"{name}: said to be {said[0]} x {said[1]}, it is {width} x {height}{turned}",
        )
        return None
    return Image(record, look.sha256)


def _look(file: Path) -> _Look:
    import PIL.Image

    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return _Look(fault=Fault.IMAGE_MISSING)
    except OSError as error:
        return _Look(fault=Fault.IMAGE_UNREADABLE, found=str(error.strerror))
    except ValueError as error:  # a name that no file can have
        return _Look(fault=Fault.IMAGE_MISSING, found=str(error))
    look = _Look(sha256=hashlib.sha256(content).hexdigest())
    if not content:
        return replace(look, fault=Fault.IMAGE_UNREADABLE, found="the file is empty")
    try:
        with PIL.Image.open(io.BytesIO(content)) as image:
            image.load()
            width, height = image.size
            if image.format not in _USUAL:
                return _as_loaded(look, content, kind=image.format)
            # the loader of training turns images as their EXIF orientation says
            if image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE:
                return replace(look, size=(height, width), found="turned")
            return replace(look, size=(width, height))
    # a broken file makes decoders raise nearly anything
    except Exception as error:
        return replace(look, fault=Fault.IMAGE_UNREADABLE, found=reason(error))


def _as_loaded(look: _Look, content: bytes, *, kind: str | None) -> _Look:
    """Return what the loader of training makes of an image in an unusual format."""
    from detection.decoding import loaded_size

    size = loaded_size(content)
    if size is None:
        found = f"training cannot load this kind of {kind}; JPEG and PNG would do"
        return replace(look, fault=Fault.IMAGE_UNREADABLE, found=found)
    return replace(look, size=size)
