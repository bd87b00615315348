"""Where the files of a COCO folder are, and what its categories are called. Light: no NumPy.

The annotation file of MS-COCO's training images has 450 MB, and its categories are at its end: they
are looked for at both ends before anything is read whole.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.data.imagefolder import SPLITS, SUFFIXES, Split
from jobs.errors import DatasetError

LAYOUT = (
    "expected annotations/instances_train2017.json and annotations/instances_val2017.json beside "
    "the image folders train2017/ and val2017/"
)

_KEY = b'"categories"'
_END_BYTES = 2**20
_LIST_BYTES = 2**23
_LARGEST_ID = 2**53


@dataclass(frozen=True)
class Place:
    """Where a split lies.

    Attributes:
        split: Which one.
        annotations: Its annotation file.
        images: Folder below which its images are.
    """

    split: Split
    annotations: Path
    images: Path


def is_coco(root: Path) -> bool:
    """Return whether a folder looks as if it held images in this layout."""
    return any(place.annotations.is_file() for place in _places(root))


def places(root: Path) -> tuple[Place, Place]:
    """Check the layout and return where train and val are; reads names only.

    Raises:
        DatasetError: A file or folder is missing, or empty.
    """
    if not root.is_dir():
        found = "a file is there" if root.exists() else "nothing is there"
        raise DatasetError(f"no data folder {root} ({found}); {LAYOUT}")
    both = _places(root)
    missing = [
        str(path.relative_to(root))
        for place in both
        for path, there in (
            (place.annotations, place.annotations.is_file()),
            (place.images, place.images.is_dir()),
        )
        if not there
    ]
    if missing:
        present = ", ".join(sorted(entry.name for entry in root.iterdir()))
        raise DatasetError(
            f"data folder {root} has no {' and no '.join(missing)}; {LAYOUT}, "
            f"found {present or 'nothing: it is empty'}"
        )
    for place in both:
        if not place.annotations.stat().st_size:
            raise DatasetError(f"{place.annotations} is empty; put it there again")
        if next(image_files(place.images), None) is None:
            raise DatasetError(
                f"{place.images} has no image ({', '.join(sorted(SUFFIXES))}); {LAYOUT}"
            )
    return both


def image_files(folder: Path) -> Iterator[tuple[str, os.stat_result | None]]:
    """Yield each image below a folder, with slashes, and what the file system says of it.

    None stands for what cannot be reached, such as a link to nowhere.
    """
    waiting = [("", folder)]
    while waiting:
        prefix, place = waiting.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    waiting.append((f"{prefix}{entry.name}/", Path(entry.path)))
                elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:  # noqa: PTH122  (a hundred thousand names: no Path each)
                    yield f"{prefix}{entry.name}", _stat(entry)


def category_names(root: Path) -> tuple[str, ...]:
    """Check the layout and return the categories in the order of their ids.

    Raises:
        DatasetError: As `places`, or the categories are none, or differ between train and val.
    """
    train, val = (read_categories(place.annotations) for place in places(root))
    require_same(root, train=train, val=val)
    return tuple(train.values())


def read_categories(file: Path) -> dict[int, str]:
    """Return id and name of each category of an annotation file, by id.

    Raises:
        DatasetError: The file is no JSON, or its categories are none.
    """
    try:
        for found in _lists_at_ends(file):
            return checked_categories(found, file)
    except (DatasetError, OSError, ValueError):
        pass  # another list of that name, in a place of its own: the whole file tells
    return checked_categories(read_document(file).get("categories"), file)


def read_document(file: Path) -> dict[str, Any]:
    """Read an annotation file whole.

    Raises:
        DatasetError: It is no JSON, or no object of it.
    """
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{file} cannot be read as JSON: {error}; put it there again") from error
    if not isinstance(document, dict):
        raise DatasetError(
            f"{file} should be an object with images, annotations and categories; "
            f"found a {type(document).__name__}"
        )
    return document


def checked_categories(found: object, file: Path) -> dict[int, str]:
    """Return id and name of each category, by id.

    Args:
        found: The list of an annotation file.
        file: That file, for messages.

    Raises:
        DatasetError: There is none, one has no id or name, or one is there twice.
    """
    if not isinstance(found, list) or not found:
        raise DatasetError(f"{file} has no list of categories; each needs an id and a name")
    names: dict[int, str] = {}
    for one in found:
        number, name = (one.get("id"), one.get("name")) if isinstance(one, dict) else (None, None)
        if type(number) is not int or not isinstance(name, str) or not name:
            raise DatasetError(
                f"{file}: category {one!r} should have an id (an integer) and a name"
            )
        if abs(number) > _LARGEST_ID:
            raise DatasetError(
                f"{file}: category {one!r} has an id beyond {_LARGEST_ID}, which scoring would "
                "round; number the categories from 1 on"
            )
        if number in names or name in names.values():
            raise DatasetError(
                f"{file}: category {one!r} has the id or the name of another one "
                f"({names.get(number, name)!r}); both must be there once"
            )
        names[number] = name
    return dict(sorted(names.items()))


def require_same(root: Path, *, train: Mapping[int, str], val: Mapping[int, str]) -> None:
    """Refuse categories that differ between train and val.

    Raises:
        DatasetError: They do; names some.
    """
    if train == val:
        return
    told = [
        f"only in {name}: {', '.join(only[:5])}{' ...' if len(only) > 5 else ''}"
        for name, mine, other in (("train", train, val), ("val", val, train))
        if (only := [f"{number} {text}" for number, text in sorted(mine.items() - other.items())])
    ]
    raise DatasetError(
        f"data folder {root}: the categories differ between the annotation files of train and val "
        f"({'; '.join(told)}); both must list the same ones with the same ids"
    )


def _places(root: Path) -> tuple[Place, Place]:
    train, val = (
        Place(
            split=split,
            annotations=root / "annotations" / f"instances_{split}2017.json",
            images=root / f"{split}2017",
        )
        for split in SPLITS
    )
    return train, val


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except OSError:  # a link to nowhere: found missing when it is read
        return None


def _lists_at_ends(file: Path) -> Iterator[object]:
    """Yield what stands under the key at the beginning or the end of a file."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as view:
        size = len(view)
        near_start = view.find(_KEY, 0, min(size, _END_BYTES))
        for at in (near_start, view.rfind(_KEY, max(0, size - _END_BYTES))):
            if at >= 0:
                text = view[at + len(_KEY) : at + _LIST_BYTES].decode("utf-8", errors="replace")
                yield json.JSONDecoder().raw_decode(text[text.index("[") :])[0]
