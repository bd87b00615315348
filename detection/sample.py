"""The list of pictures that a run keeps of what it found. Light: no detector is loaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from detection.errors import DetectionError

if TYPE_CHECKING:
    from PIL.Image import Image

LIST: Final = "samples.json"
"""Name of the list."""
FOLDER: Final = "samples"
"""Folder of the pictures, beside the list."""
GAP_PX: Final = 8
"""Between the two halves of a picture."""


@dataclass(frozen=True)
class Sample:
    """One picture.

    Attributes:
        file: Its name below the folder that holds the list: ``samples/000.png``.
        image_id: As in the annotation file.
        name: File of the image.
        found: Things drawn on its left half.
        objects: On its right half, crowds apart.
    """

    file: str
    image_id: int
    name: str
    found: int
    objects: int


def write_list(samples: Sequence[Sample]) -> str:
    """Return the list as it is kept."""
    return json.dumps([asdict(sample) for sample in samples], indent=1)


def read_list(text: str) -> tuple[Sample, ...]:
    """Read a list.

    Raises:
        DetectionError: It is none.
    """
    try:
        return tuple(Sample(**entry) for entry in json.loads(text))
    except (ValueError, TypeError) as error:
        raise DetectionError(f"this is no list of sample pictures: {error}") from error


def halves(picture: Image) -> tuple[Image, Image]:
    """Cut a picture into what was found and what is there."""
    wide, high = (picture.width - GAP_PX) // 2, picture.height
    return (
        picture.crop((0, 0, wide, high)),
        picture.crop((picture.width - wide, 0, picture.width, high)),
    )
