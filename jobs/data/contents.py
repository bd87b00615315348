"""Where the bytes of images are: files of their own, or records of larger ones. Light."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Contents(Protocol):
    """Gives the encoded images of a data set; cheap to hand to another process."""

    def read(self, path: str) -> bytes:
        """Return an image as a file of its own would hold it.

        Args:
            path: Of its sample.

        Raises:
            OSError: It cannot be opened.
            DatasetError: It is there, and is no image of the set.
        """

    def stamp(self, path: str) -> str:
        """Return what differs once the image was changed, without reading it."""


@dataclass(frozen=True)
class FolderContents:
    """Images that are files.

    Attributes:
        root: Folder below which the paths of samples lead to them.
    """

    root: Path

    def read(self, path: str) -> bytes:
        """Return the bytes of a file."""
        return (self.root / path).read_bytes()

    def stamp(self, path: str) -> str:
        """Return size and time of change."""
        return file_stamp(self.root / path)


def file_stamp(file: Path) -> str:
    """Return size and time of change of a file, ``none`` where it cannot be reached."""
    try:
        info = file.stat()
    except OSError:  # a link to nowhere: found unreadable when it is read
        return "none"
    return f"{info.st_size}\0{info.st_mtime_ns}"
