"""Writes data sets that are made on this machine: once, and whole or not at all. Light."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def write_once(cache: Path, name: str, *, fill: Callable[[Path], None]) -> Path:
    """Return the folder of a data set, written unless it is there.

    Args:
        cache: Folder that outlives runs. The set is written aside and renamed, so several may call
            this at once.
        name: Of the folder.
        fill: Writes the set into an empty folder.
    """
    target = cache / name
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache))
    try:
        fill(aside)
        aside.chmod(0o755)
        aside.rename(target)
    except OSError:
        # another process may have been first: its folder is whole, for it was renamed too
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target
