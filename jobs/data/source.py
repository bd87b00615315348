"""What the field `data` of a spec names: an embedded data set, or a folder. Light.

To classify, a folder holds images class by class (see `imagefolder`) or the binary files of CIFAR
(`cifar`); to detect, images with objects in the layout of MS-COCO 2017 (`coco`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from backbones.errors import near
from jobs.data import cifar, digit_scenes, digits, imagefolder
from jobs.data.coco import layout
from jobs.data.imagefolder import Listing
from jobs.errors import DatasetError

Task = Literal["classify", "detect"]
"""What a run does with the data; also the name of its kind."""


@dataclass(frozen=True)
class Embedded:
    """A data set that is made on this machine.

    Attributes:
        write: Writes it into a cache folder and returns where.
        task: What it is for.
        classes: How many it has.
    """

    write: Callable[[Path], Path]
    task: Task
    classes: int


EMBEDDED: Mapping[str, Embedded] = {
    digits.NAME: Embedded(digits.write, task="classify", classes=10),
    digit_scenes.NAME: Embedded(digit_scenes.write, task="detect", classes=10),
}

_EXPECTED: Mapping[Task, str] = {
    "classify": "a folder with train/ and val/ or with the binary files of CIFAR",
    "detect": "a folder in the layout of MS-COCO 2017 (annotations/, train2017/, val2017/)",
}


def canonical(text: str) -> str:
    """Return how a spec stores a reference: an embedded name, or an absolute path.

    Args:
        text: ``digits``, or a path; ``./digits`` is a folder of that name. Links are left as they
            are, so that a path that means the same on every machine stays so.
    """
    text = text.strip()
    return text if text in EMBEDDED or not text else str(Path(text).expanduser().absolute())


def short_name(reference: str) -> str:
    """Return what listings call a data set: its embedded name or its folder's.

    The folders as which CIFAR's archives unpack are called as published rows call the sets.
    """
    if reference in EMBEDDED:
        return reference
    folder = Path(reference).name
    return {version.folder: version.name for version in cifar.VERSIONS}.get(folder, folder)


def precheck(reference: str, *, task: Task = "classify") -> None:
    """Look whether the data can be there and serve a task, reading names only.

    Args:
        reference: As `canonical` returns it.
        task: What a run does with them.

    Raises:
        DatasetError: They cannot; says what was found.
    """
    if reference in EMBEDDED:
        if EMBEDDED[reference].task != task:
            raise DatasetError(
                f"the embedded set {reference} is made to {EMBEDDED[reference].task}; "
                f"to {task}, use {' or '.join(_embedded(task))}, or {_EXPECTED[task]}"
            )
        return
    folder = Path(reference)
    if not folder.exists():
        raise DatasetError(
            f"no data folder {folder}; give {_EXPECTED[task]}, "
            f"or an embedded set ({near(folder.name, _embedded(task))})"
        )
    if task == "detect":
        _category_names(folder)
    else:
        _require_classes(folder)
        class_names(folder)


def locate(reference: str, cache: Path) -> Path:
    """Return the folder of a data set; an embedded one is written into `cache` first."""
    return EMBEDDED[reference].write(cache) if reference in EMBEDDED else Path(reference)


def at_hand(reference: str, cache: Path) -> Path | None:
    """Return the folder of a data set if it is on this machine already, and write nothing."""
    folder = cache / reference if reference in EMBEDDED else Path(reference)
    return folder if folder.is_dir() else None


def class_names(folder: Path) -> tuple[str, ...]:
    """Check the layout of a folder and return its classes; reads names only.

    Returns:
        Those of images class by class, sorted, or the categories of a COCO folder, by id.

    Raises:
        DatasetError: The layout is wrong, or a class has no image.
    """
    if layout.is_coco(folder):
        return layout.category_names(folder)
    version = cifar.version_of(folder)
    if version is not None:
        return cifar.class_names(folder, version)
    return imagefolder.class_names(folder)


def read_listing(folder: Path) -> Listing:
    """List every image of a folder to classify.

    Raises:
        DatasetError: As `class_names`, or the folder holds objects to detect.
    """
    _require_classes(folder)
    version = cifar.version_of(folder)
    if version is not None:
        return cifar.read_listing(folder, version)
    return imagefolder.read_listing(folder)


def _embedded(task: Task) -> list[str]:
    return [name for name, one in EMBEDDED.items() if one.task == task]


def _require_classes(folder: Path) -> None:
    if layout.is_coco(folder):
        raise DatasetError(
            f"data folder {folder} holds objects to detect (MS-COCO's layout), not images class by "
            f"class; use it in a run of kind detect, or give {_EXPECTED['classify']}"
        )


def _category_names(folder: Path) -> tuple[str, ...]:
    if not layout.is_coco(folder) and _is_classes(folder):
        raise DatasetError(
            f"data folder {folder} holds images class by class, without objects to detect; use it "
            f"in a run of kind classify, or give {_EXPECTED['detect']}"
        )
    return layout.category_names(folder)


def _is_classes(folder: Path) -> bool:
    try:
        class_names(folder)
    except DatasetError:
        return False
    return True
