"""Whether the images of a data set are sound.

Each is read and decoded once, and the verdict is kept.

The fingerprint is over (split, class, sample, hash of the bytes) in sorted order, so that the same
images in another container have the same one. The verdict is filed under a cheap signature of the
files (path, size, time of change), so that only a changed folder is read again.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from jobs.data.alone import alone
from jobs.data.imagefolder import SPLITS, Listing, Sample
from jobs.errors import DatasetError

_FORMAT = "convoy-verdict-1"
_FOLDER = "verdicts"
_AT_ONCE = 2000
_SHOWN = 5


class Verdict(BaseModel):
    """What reading every image told.

    Attributes:
        fingerprint: Hash (16 hex digits) over classes, samples and contents.
        images: Images read.
        bad: Path of each unreadable image to what is wrong with it.
        decoded_mib: Memory that the sound images take once decoded, as 8-bit RGB.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    images: int
    bad: dict[str, str]
    decoded_mib: float


@dataclass(frozen=True, slots=True)
class _Look:
    sha256: str
    pixels: int
    fault: str


def inspect(
    listing: Listing, *, cache: Path, threads: int, status: Callable[[str], None]
) -> Verdict:
    """Read and decode every image, or recall what that told before.

    Args:
        listing: The images.
        cache: Folder in which verdicts are kept.
        threads: Images read at once.
        status: Told in words how far it is.
    """
    file = cache / _FOLDER / f"{_signature(listing)}.json"
    with alone(file.stem, cache=cache):
        return _recalled_or_read(listing, file, threads=threads, status=status)


def _recalled_or_read(
    listing: Listing, file: Path, *, threads: int, status: Callable[[str], None]
) -> Verdict:
    if file.is_file():
        try:
            return Verdict.model_validate_json(file.read_text("utf-8"))
        except ValidationError:
            status("reading the images again: their verdict was written by another version")
    verdict = _read_all(listing, threads=threads, status=status)
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(f".{os.getpid()}")
    aside.write_text(verdict.model_dump_json(), "utf-8")
    aside.replace(file)
    return verdict


def drop_bad(listing: Listing, verdict: Verdict, *, max_bad_pct: float) -> Listing:
    """Return the listing without its unreadable images.

    Args:
        listing: The images.
        verdict: What reading them told.
        max_bad_pct: How many may be unreadable, in percent of each split.

    Raises:
        DatasetError: More are, or a class has none left; names examples.
    """
    if not verdict.bad:
        return listing
    kept = []
    for name in SPLITS:
        samples = listing.split(name)
        sound = tuple(sample for sample in samples if sample.path not in verdict.bad)
        bad = [sample.path for sample in samples if sample.path in verdict.bad]
        if len(bad) > max_bad_pct / 100 * len(samples):
            raise DatasetError(
                f"data folder {listing.root}: {len(bad)} of {len(samples)} images of {name} "
                f"cannot be read, more than max_bad_pct {max_bad_pct:g} allows; "
                f"{_examples(bad, verdict)}; mend or remove them"
            )
        empty = set(range(len(listing.classes))) - {sample.label for sample in sound}
        if empty:
            raise DatasetError(
                f"data folder {listing.root}: no image of class {listing.classes[min(empty)]!r} in "
                f"{name} can be read; {_examples(bad, verdict)}; mend them"
            )
        kept.append(sound)
    return replace(listing, train=kept[0], val=kept[1])


def _examples(bad: Sequence[str], verdict: Verdict) -> str:
    shown = "; ".join(f"{path}: {verdict.bad[path]}" for path in bad[:_SHOWN])
    return f"for example {shown}"


def _signature(listing: Listing) -> str:
    digest = hashlib.sha256(_FORMAT.encode())
    for name in SPLITS:
        for sample in listing.split(name):
            stamp = listing.contents.stamp(sample.path)
            digest.update(f"{sample.path}\0{stamp}\n".encode())
    return digest.hexdigest()[:32]


def _read_all(listing: Listing, *, threads: int, status: Callable[[str], None]) -> Verdict:
    samples = [sample for name in SPLITS for sample in listing.split(name)]
    entries: list[str] = []
    bad: dict[str, str] = {}
    pixels = 0
    # decoding releases the interpreter's lock, so threads do it at once
    with ThreadPoolExecutor(max_workers=max(threads, 1)) as pool:
        for start in range(0, len(samples), _AT_ONCE):
            status(f"checking {len(samples):,} images: {start / len(samples):.0%}")
            some = samples[start : start + _AT_ONCE]
            for sample, look in zip(some, pool.map(lambda s: _look(listing, s), some), strict=True):
                entries.append(_entry(sample, look, classes=listing.classes))
                pixels += look.pixels
                if look.fault:
                    bad[sample.path] = look.fault
    digest = hashlib.sha256("\n".join(sorted(entries)).encode())
    return Verdict(
        fingerprint=digest.hexdigest()[:16],
        images=len(samples),
        bad=bad,
        decoded_mib=round(pixels * 3 / 2**20, 3),
    )


def _entry(sample: Sample, look: _Look, *, classes: Sequence[str]) -> str:
    split, _, below = sample.id.partition("/")
    name = classes[sample.label] if sample.label >= 0 else ""
    return "\0".join((split, name, below.removeprefix(f"{name}/"), look.sha256))


def _look(listing: Listing, sample: Sample) -> _Look:
    from PIL import Image

    try:
        content = listing.contents.read(sample.path)
    except OSError as error:
        return _Look(sha256="", pixels=0, fault=f"cannot be opened ({error.strerror})")
    except DatasetError as error:
        return _Look(sha256="", pixels=0, fault=str(error))
    sha256 = hashlib.sha256(content).hexdigest()
    if not content:
        return _Look(sha256, pixels=0, fault="the file is empty")
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.convert("RGB")
            return _Look(sha256, pixels=image.width * image.height, fault="")
    # a broken file makes decoders raise nearly anything
    except Exception as error:
        return _Look(sha256, pixels=0, fault=reason(error))


def reason(error: Exception) -> str:
    """Return why an image could not be decoded, in a few words."""
    text = " ".join(str(error).split())
    return "not an image" if "cannot identify image file" in text else text or type(error).__name__
