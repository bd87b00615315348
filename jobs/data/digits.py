"""The embedded data set: scikit-learn's handwritten digits as a folder of images.

1,797 real scans of 8 x 8 pixels in 17 grey levels, ten classes, written as 32 x 32 grey PNG files
in which each scanned pixel is a square of 4 x 4, so that nothing is invented by interpolation. A
fifth of each class is held out as ``val``. The writers are not recorded in the set, so the split is
random over images, and the same hand may stand on both sides: scores say how two networks compare,
not how well a new writer would be read.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from jobs.data.embedded import write_once
from jobs.data.imagefolder import Split

NAME = "digits"
SIDE_PX = 32
VAL_SHARE = 0.2

_SPLIT_SEED = 0


def write(cache: Path) -> Path:
    """Write the digits below a folder, unless they are there, and return where.

    Args:
        cache: Folder that outlives runs. The set is written aside and renamed, so several may call
            this at once.

    Returns:
        The folder ``<cache>/digits`` with ``train`` and ``val``.
    """
    return write_once(cache, NAME, fill=_write_images)


def _write_images(folder: Path) -> None:
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = (digits.images * (255 / 16)).round().astype("uint8")
    for index, side in split(digits.target.tolist()):
        image = Image.fromarray(grey[index]).resize((SIDE_PX, SIDE_PX), Image.Resampling.NEAREST)
        file = folder / side / str(digits.target[index]) / f"{index:04d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        image.save(file)


def split(labels: list[int]) -> Iterator[tuple[int, Split]]:
    """Yield each index with its split: a fifth of every class is held out.

    Args:
        labels: Digit of each scan, in scikit-learn's order.
    """
    draw = random.Random(_SPLIT_SEED)
    for label in sorted(set(labels)):
        members = [index for index, other in enumerate(labels) if other == label]
        draw.shuffle(members)
        held_out = round(len(members) * VAL_SHARE)
        yield from ((index, "val" if n < held_out else "train") for n, index in enumerate(members))
