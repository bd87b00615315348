"""One process of a machine at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FOLDER = "locks"


@contextmanager
def alone(name: str, *, cache: Path) -> Iterator[None]:
    """Wait until no other process is inside under this name; the system frees it at any death.

    Workers that train together begin together: the first reads a data set, the others wait and
    recall what it found.

    Args:
        name: What is done, such as the signature of the files that are read.
        cache: Folder of the machine; an empty file of that name below ``locks`` stays.
    """
    file = cache / _FOLDER / name
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
