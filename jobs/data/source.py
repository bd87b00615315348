"""What the field `data` of a spec names: an embedded data set, or a folder. Light.

A folder holds images class by class (see `imagefolder`) or the binary files of CIFAR (`cifar`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from backbones.errors import near
from jobs.data import cifar, digits, imagefolder
from jobs.data.imagefolder import Listing
from jobs.errors import DatasetError

EMBEDDED: Mapping[str, Callable[[Path], Path]] = {"digits": digits.write}
"""Name to the function that writes the set into a cache folder and returns where."""


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


def precheck(reference: str) -> None:
    """Look whether the data can be there, reading names only.

    Raises:
        DatasetError: They cannot; says what was found.
    """
    if reference in EMBEDDED:
        return
    folder = Path(reference)
    if not folder.exists():
        raise DatasetError(
            f"no data folder {folder}; give a folder with train/ and val/ or with the binary "
            f"files of CIFAR, or an embedded set ({near(folder.name, EMBEDDED)})"
        )
    class_names(folder)


def locate(reference: str, cache: Path) -> Path:
    """Return the folder of a data set; an embedded one is written into `cache` first."""
    return EMBEDDED[reference](cache) if reference in EMBEDDED else Path(reference)


def at_hand(reference: str, cache: Path) -> Path | None:
    """Return the folder of a data set if it is on this machine already, and write nothing."""
    folder = cache / reference if reference in EMBEDDED else Path(reference)
    return folder if folder.is_dir() else None


def class_names(folder: Path) -> tuple[str, ...]:
    """Check the layout of a folder and return its classes, sorted; reads names only.

    Raises:
        DatasetError: The layout is wrong, or a class has no image.
    """
    version = cifar.version_of(folder)
    if version is not None:
        return cifar.class_names(folder, version)
    return imagefolder.class_names(folder)


def read_listing(folder: Path) -> Listing:
    """List every image of a folder.

    Raises:
        DatasetError: As `class_names`.
    """
    version = cifar.version_of(folder)
    if version is not None:
        return cifar.read_listing(folder, version)
    return imagefolder.read_listing(folder)
