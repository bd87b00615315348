"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009) in the binary files of their authors. Light.

A record is one label (CIFAR-100: a coarse and a fine one, of which the fine counts) and 32 x 32
pixels, first all red ones, then green, then blue. It is read as the PPM file that it would be, so a
folder of such files, ``train/<class>/data_batch_1-00000.ppm``, is the same data set with the same
fingerprint. The test file is the split ``val``. The Python version holds pickles, which run code
when they are read: it is refused.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jobs.data.contents import file_stamp
from jobs.data.imagefolder import SPLITS, Listing, Sample, Split
from jobs.errors import DatasetError

SIDE_PX = 32
UNLABELLED = -1
"""Label of an image whose file says none of the classes; reading it fails with the reason."""

_PIXELS = SIDE_PX * SIDE_PX
_HEADER = f"P6\n{SIDE_PX} {SIDE_PX}\n255\n".encode()
_HOME = "https://www.cs.toronto.edu/~kriz/cifar.html"


@dataclass(frozen=True)
class Version:
    """One of the two data sets, as it is packed.

    Attributes:
        title: What it is called.
        name: What published rows call it.
        archive: What its files are unpacked from.
        folder: Where they lie once they are.
        train: Files of the training images.
        test: File of the test images.
        names: File with the names of the classes, one a line.
        label_bytes: Bytes before the pixels; the last of them is the label.
        pickles: Files of the Python version.
    """

    title: str
    name: str
    archive: str
    folder: str
    train: tuple[str, ...]
    test: str
    names: str
    label_bytes: int
    pickles: tuple[str, ...]

    @property
    def record_bytes(self) -> int:
        """Bytes of an image with its labels."""
        return self.label_bytes + 3 * _PIXELS

    def files(self, split: Split) -> tuple[str, ...]:
        """Return the files of a split."""
        return self.train if split == "train" else (self.test,)


VERSIONS = (
    Version(
        title="CIFAR-10",
        name="cifar10",
        archive="cifar-10-binary.tar.gz",
        folder="cifar-10-batches-bin",
        train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        test="test_batch.bin",
        names="batches.meta.txt",
        label_bytes=1,
        pickles=("data_batch_1", "test_batch", "batches.meta"),
    ),
    Version(
        title="CIFAR-100",
        name="cifar100",
        archive="cifar-100-binary.tar.gz",
        folder="cifar-100-binary",
        train=("train.bin",),
        test="test.bin",
        names="fine_label_names.txt",
        label_bytes=2,
        pickles=("train", "test", "meta"),
    ),
)


def version_of(root: Path) -> Version | None:
    """Return what a folder holds: one of the two in binary files, or something else (None).

    Raises:
        DatasetError: It holds the Python version.
    """
    for version in VERSIONS:
        if any((root / name).is_file() for name in (*version.train, version.test)):
            return version
        if all((root / name).is_file() for name in version.pickles):
            raise DatasetError(
                f"data folder {root} holds the Python version of {version.title}, which are "
                "pickles: reading one runs the code that is in it; unpack the binary version "
                f"instead, {version.archive} of {_HOME}"
            )
    return None


def class_names(root: Path, version: Version) -> tuple[str, ...]:
    """Check the files and return the classes; reads their names only.

    Args:
        root: Folder of the files.
        version: Which of the two it holds.

    Returns:
        The names, sorted, as those of a folder of images would be.

    Raises:
        DatasetError: A file is missing or cut off, or the names are none.
    """
    return tuple(sorted(_names(root, version)))


def read_listing(root: Path, version: Version) -> Listing:
    """List every image, in the order of a folder that holds the same.

    Raises:
        DatasetError: As `class_names`, or a class has no image.
    """
    names = _names(root, version)
    classes = tuple(sorted(names))
    splits = {
        split: tuple(
            sorted(
                _samples(root, version, split=split, names=names),
                key=lambda sample: (sample.label == UNLABELLED, sample.label, sample.path),
            )
        )
        for split in SPLITS
    }
    for split, samples in splits.items():
        empty = set(range(len(classes))) - {sample.label for sample in samples}
        if empty:
            raise DatasetError(
                f"data folder {root}: no image of class {classes[min(empty)]!r} in "
                f"{', '.join(version.files(split))}; {_again(version)}"
            )
    return Listing(
        root=root,
        classes=classes,
        train=splits["train"],
        val=splits["val"],
        contents=CifarContents(root, version, classes=len(classes)),
    )


@dataclass(frozen=True)
class CifarContents:
    """Images that are records.

    Attributes:
        root: Folder of the files.
        version: Which of the two it holds.
        classes: How many there are.
    """

    root: Path
    version: Version
    classes: int

    def read(self, path: str) -> bytes:
        """Return a record as a PPM file.

        Raises:
            OSError: The file cannot be opened.
            DatasetError: Its label is none of the classes, or the file was cut off since.
        """
        name, index = self._record(path)
        size = self.version.record_bytes
        with (self.root / name).open("rb") as file:
            file.seek(index * size)
            record = file.read(size)
        if len(record) < size:
            raise DatasetError(f"{name} ends before image {index}")
        label = record[self.version.label_bytes - 1]
        if label >= self.classes:
            raise DatasetError(f"its label is {label}, and there are {self.classes} classes from 0")
        pixels = record[self.version.label_bytes :]
        image = bytearray(3 * _PIXELS)
        for colour in range(3):
            image[colour::3] = pixels[colour * _PIXELS : (colour + 1) * _PIXELS]
        return _HEADER + bytes(image)

    def stamp(self, path: str) -> str:
        """Return size and time of change of the image's file."""
        return file_stamp(self.root / self._record(path)[0])

    def _record(self, path: str) -> tuple[str, int]:
        stem, _, index = PurePosixPath(path).stem.rpartition("-")
        return f"{stem}.bin", int(index)


def _samples(
    root: Path, version: Version, *, split: Split, names: tuple[str, ...]
) -> Iterator[Sample]:
    labels = {name: label for label, name in enumerate(sorted(names))}
    for name in version.files(split):
        for index, said in enumerate(_labels(root / name, version)):
            known = said < len(names)
            below = f"{names[said] if known else 'unlabelled'}/{Path(name).stem}-{index:05d}.ppm"
            label = labels[names[said]] if known else UNLABELLED
            yield Sample(path=f"{split}/{below}", label=label)


def _labels(file: Path, version: Version) -> bytes:
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return view[version.label_bytes - 1 :: version.record_bytes]


def _names(root: Path, version: Version) -> tuple[str, ...]:
    """Return the names in the order of the labels in the files, once these were looked at."""
    for name in (*version.train, version.test, version.names):
        if not (root / name).is_file():
            raise DatasetError(
                f"data folder {root} has files of {version.title}, but no {name}; {_again(version)}"
            )
    for name in (*version.train, version.test):
        size = (root / name).stat().st_size
        if not size or size % version.record_bytes:
            raise DatasetError(
                f"{root / name} has {size:,} bytes, which are no whole images of "
                f"{version.record_bytes:,} bytes: it is cut off, or no file of {version.title}; "
                f"{_again(version)}"
            )
    text = (root / version.names).read_text("utf-8", errors="replace")
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not names or len(set(names)) < len(names):
        raise DatasetError(
            f"{root / version.names} should name each class once, a line each; found "
            f"{len(names)} names, {len(set(names))} of them different; {_again(version)}"
        )
    return names


def _again(version: Version) -> str:
    return f"unpack {version.archive} again ({_HOME})"
