"""A folder of images in the ImageNet layout: ``<root>/{train,val}/<class>/<image>``.

Light: names only, no torch.

Folders below a class folder belong to it. Names that begin with a dot, and files that are no
images, are passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from jobs.data.contents import Contents, FolderContents
from jobs.errors import DatasetError

Split = Literal["train", "val"]
SPLITS: tuple[Split, Split] = ("train", "val")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})

_SHOWN = 5
_LAYOUT = "expected train/<class>/<image> and val/<class>/<image>"


@dataclass(frozen=True, slots=True)
class Sample:
    """One image.

    Attributes:
        path: Below the root, with slashes: ``train/cat/0001.jpg``.
        label: Index of its class, from 0.
    """

    path: str
    label: int

    @property
    def id(self) -> str:
        """What it is called in messages and fingerprints: its path without suffix."""
        return str(PurePosixPath(self.path).with_suffix(""))


@dataclass(frozen=True)
class Listing:
    """The images of a data set.

    Attributes:
        root: Its folder.
        classes: Names in the order of their labels (sorted).
        train: Training images, class by class, sorted by path.
        val: Validation images, likewise.
        contents: Where their bytes are.
    """

    root: Path
    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    contents: Contents

    def split(self, name: Split) -> tuple[Sample, ...]:
        """Return the images of one split."""
        return self.train if name == "train" else self.val


def class_names(root: Path) -> tuple[str, ...]:
    """Check the layout and return the classes; reads folder names and one image name a class.

    Args:
        root: Folder that holds ``train`` and ``val``.

    Raises:
        DatasetError: The folder is missing or empty, a split is missing, the classes of both
            differ, or a class has no image.
    """
    if not root.is_dir():
        found = "a file is there" if root.exists() else "nothing is there"
        raise DatasetError(f"no data folder {root} ({found}); {_LAYOUT}")
    missing = [name for name in SPLITS if not (root / name).is_dir()]
    if missing:
        present = sorted(entry.name for entry in os.scandir(root))
        raise DatasetError(
            f"data folder {root} has no folder {' and no folder '.join(missing)}; "
            f"{_LAYOUT}, found {_some(present) if present else 'nothing: it is empty'}"
        )
    train, val = (_class_folders(root / name) for name in SPLITS)
    if train != val:
        raise DatasetError(_difference(root, train=train, val=val))
    empty = [
        f"{name}/{label}"
        for name in SPLITS
        for label in train
        if next(_images(root / name / label), None) is None
    ]
    if empty:
        raise DatasetError(
            f"data folder {root}: no image in {_some(empty)}; add images "
            f"({', '.join(sorted(SUFFIXES))}) or remove the class from both splits"
        )
    return train


def read_listing(root: Path) -> Listing:
    """List every image of a folder.

    Raises:
        DatasetError: As `class_names`.
    """
    classes = class_names(root)
    splits = [
        tuple(
            Sample(path=f"{name}/{label}/{below}", label=index)
            for index, label in enumerate(classes)
            for below in sorted(_images(root / name / label))
        )
        for name in SPLITS
    ]
    return Listing(
        root=root,
        classes=classes,
        train=splits[0],
        val=splits[1],
        contents=FolderContents(root),
    )


def _class_folders(split: Path) -> tuple[str, ...]:
    folders = []
    stray = 0
    for entry in os.scandir(split):
        if entry.is_dir() and not entry.name.startswith("."):
            folders.append(entry.name)
        elif _is_image(entry.name):
            stray += 1
    if not folders:
        found = f"{stray} images lie in it directly" if stray else "it is empty"
        raise DatasetError(f"{split} has no class folders: {found}; {_LAYOUT}")
    return tuple(sorted(folders))


def _images(folder: Path) -> Iterator[str]:
    """Yield the paths of a class folder's images below it, with slashes."""
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = Path(place).relative_to(folder)
        yield from ((below / name).as_posix() for name in files if _is_image(name))


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122  (a million names: no Path each)


def _difference(root: Path, *, train: Sequence[str], val: Sequence[str]) -> str:
    only = [
        f"only in {name}: {_some(sorted(set(mine) - set(other)))}"
        for name, mine, other in (("train", train, val), ("val", val, train))
        if set(mine) - set(other)
    ]
    return (
        f"data folder {root}: class folders differ between train and val ({'; '.join(only)}); "
        "both need the same names, for a class is known by its folder"
    )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
