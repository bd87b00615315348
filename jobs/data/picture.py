"""Single images, outside of any training: files that somebody names or sends. No torch here."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.data.contents import Contents
from jobs.data.imagefolder import SUFFIXES
from jobs.data.verdict import reason
from jobs.errors import DatasetError

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Picture:
    """One image file.

    Attributes:
        name: What it is called in messages.
        content: Its bytes.
    """

    name: str
    content: bytes

    def decode(self) -> Image:
        """Return the RGB image.

        Raises:
            DatasetError: It is none, or broken.
        """
        from PIL import Image

        try:
            with Image.open(io.BytesIO(self.content)) as image:
                return image.convert("RGB")
        # a broken file makes decoders raise nearly anything
        except Exception as error:
            raise DatasetError(
                f"{self.name} cannot be read as an image: {reason(error)}; give a file such as "
                f"{', '.join(sorted(SUFFIXES))}"
            ) from error


def read_pictures(paths: Iterable[Path]) -> list[Picture]:
    """Read image files.

    Raises:
        DatasetError: One cannot be opened.
    """
    found = []
    for path in paths:
        try:
            found.append(Picture(str(path), path.read_bytes()))
        except OSError as error:
            raise DatasetError(f"image {path} cannot be opened: {error.strerror}") from error
    return found


def listed(contents: Contents, paths: Iterable[str]) -> Iterator[Picture]:
    """Yield images of a data set, but those whose bytes cannot be had."""
    for path in paths:
        try:
            content = contents.read(path)
        except (OSError, DatasetError):
            continue
        yield Picture(path, content)


def sound(pictures: Iterable[Picture]) -> Iterator[Picture]:
    """Leave out what cannot be read."""
    for picture in pictures:
        try:
            picture.decode()
        except DatasetError:
            continue
        yield picture
