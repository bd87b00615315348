"""The embedded data set for detection: scenes of scikit-learn's digits, in the layout of MS-COCO.

Each scene shows three to six scans of 8 x 8 pixels, enlarged to 24 to 80, over texture and strokes
that are no digit. Digits overlap, later ones hide what is below; a mask is what can be seen, to the
pixel, and no digit is hidden by half. Every tenth scene has a heap of small scans of one digit,
too, which is one object with ``iscrowd``. Scenes of ``val`` show other scans than those of
``train``: the split is that of `digits`, and ``scans`` of an object names them. Nothing but whole
numbers is computed with, so that every machine writes the same bytes; images are BMP files, since
compressors differ between versions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.data import digits
from jobs.data.embedded import write_once
from jobs.data.imagefolder import SPLITS, Split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Masked = NDArray[np.bool_]
    Draw = np.random.RandomState  # its numbers are the same in every version of NumPy

NAME = "digit_scenes"
SIDE_PX = 128
SCENES: Mapping[Split, int] = {"train": 400, "val": 100}

_DIGITS = (3, 4, 5, 6)
_SIDES_PX = (24, 28, 32, 36, 40, 48, 56, 64, 72, 80)
_HEAP_EVERY = 10
_HEAP_SCANS = 7
_HEAP_SIDE_PX = 14
_HEAP_REACH_PX = 34
_LEAST_SEEN_PCT = 55
_ATTEMPTS = 20
_INK = 120
"""Grey, of 255, from which a pixel of an enlarged scan is ink."""


def write(cache: Path) -> Path:
    """Write the scenes below a folder, unless they are there, and return where.

    Args:
        cache: Folder that outlives runs. The set is written aside and renamed, so several may call
            this at once.

    Returns:
        The folder ``<cache>/digit_scenes`` with ``annotations``, ``train2017`` and ``val2017``.
    """
    return write_once(cache, NAME, fill=_write_scenes)


@dataclass(frozen=True)
class _Thing:
    """What is put into a scene: a digit, or a heap of them.

    Attributes:
        label: Which digit.
        ink: (S, S) bool, where it covers what is below.
        colours: (S, S, 3), the pixels that it covers it with.
        scans: Which of scikit-learn's scans it is made of; several are a heap.
    """

    label: int
    ink: Masked
    colours: Pixels
    scans: tuple[int, ...]


class _Scans:
    """Deals the scans of a split, each before any comes again."""

    def __init__(self, members: list[int], *, grey: Pixels, labels: list[int]) -> None:
        self.grey = grey
        self.labels = labels
        self._members = members
        self._dealt = 0

    def deal(self) -> int:
        """Return the next scan."""
        self._dealt += 1
        return self._members[(self._dealt - 1) % len(self._members)]

    def some(self, count: int, *, label: int) -> tuple[int, ...]:
        """Return scans of one digit; they may come again elsewhere."""
        same = [index for index in self._members if self.labels[index] == label]
        return tuple(same[(self._dealt + n) % len(same)] for n in range(count))


def _write_scenes(folder: Path) -> None:
    import numpy as np
    from sklearn.datasets import load_digits

    found = load_digits()
    grey = (found.images * 255 / 16).astype("uint8")
    labels: list[int] = found.target.tolist()
    sides = dict(digits.split(labels))
    (folder / "annotations").mkdir()
    for split in SPLITS:
        members = [index for index in sorted(sides) if sides[index] == split]
        draw = np.random.RandomState(SPLITS.index(split))
        draw.shuffle(members)
        document = _write_split(
            folder / f"{split}2017",
            _Scans(members, grey=grey, labels=labels),
            scenes=SCENES[split],
            draw=draw,
        )
        file = folder / "annotations" / f"instances_{split}2017.json"
        file.write_text(json.dumps(document), "utf-8")


def _write_split(
    folder: Path, scans: _Scans, *, scenes: int, draw: Draw
) -> dict[str, list[dict[str, Any]]]:
    """Write the images of a split and return its annotation file."""
    from PIL import Image

    folder.mkdir()
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for number in range(1, scenes + 1):
        pixels, things = _scene(scans, draw=draw, heap=number % _HEAP_EVERY == 0)
        name = f"{number:06d}.bmp"
        Image.fromarray(pixels).save(folder / name)
        images.append({"id": number, "file_name": name, "width": SIDE_PX, "height": SIDE_PX})
        objects += [
            {"id": len(objects) + place, "image_id": number, **_annotation(thing, seen)}
            for place, (thing, seen) in enumerate(things, start=1)
        ]
    categories = [
        {"id": digit + 1, "name": str(digit), "supercategory": "digit"} for digit in range(10)
    ]
    return {"images": images, "annotations": objects, "categories": categories}


def _annotation(thing: _Thing, seen: Masked) -> dict[str, Any]:
    import numpy as np
    from pycocotools import mask

    encoded = mask.encode(np.asfortranarray(seen, dtype=np.uint8))
    crowd = len(thing.scans) > 1
    # as in MS-COCO's files, where the runs of a crowd are plain numbers
    counts = _runs(seen) if crowd else encoded["counts"].decode()
    return {
        "category_id": thing.label + 1,
        "iscrowd": int(crowd),
        "bbox": [float(edge) for edge in mask.toBbox(encoded)],
        "area": int(seen.sum()),
        "segmentation": {"size": [SIDE_PX, SIDE_PX], "counts": counts},
        "scans": thing.scans,
    }


def _runs(seen: Masked) -> list[int]:
    """Return run lengths column by column, the first of what is not seen."""
    import numpy as np

    changes = np.diff(seen.ravel(order="F").astype(np.int8), prepend=0)
    edges = np.concatenate([[0], np.flatnonzero(changes), [seen.size]])
    runs: list[int] = np.diff(edges).tolist()
    return runs


def _scene(scans: _Scans, *, draw: Draw, heap: bool) -> tuple[Pixels, list[tuple[_Thing, Masked]]]:
    """Return the pixels of a scene, and what is in it with where it is seen."""
    pixels = _background(draw)
    placed: list[tuple[_Thing, Masked]] = []
    if heap:
        _put(_heap(scans, draw=draw), pixels, placed=placed, draw=draw)
    for _ in range(_DIGITS[draw.randint(len(_DIGITS))]):
        index = scans.deal()
        side = _SIDES_PX[draw.randint(len(_SIDES_PX))]
        ink, colours = _inked(scans.grey[index], side=side, draw=draw)
        digit = _Thing(label=scans.labels[index], ink=ink, colours=colours, scans=(index,))
        _put(digit, pixels, placed=placed, draw=draw)
    return pixels, placed


def _put(thing: _Thing, pixels: Pixels, *, placed: list[tuple[_Thing, Masked]], draw: Draw) -> None:
    """Put something where it hides nothing by half; leave it out where no such place is found."""
    import numpy as np

    height, width = thing.ink.shape
    for _ in range(_ATTEMPTS):
        y, x = draw.randint(SIDE_PX - height + 1), draw.randint(SIDE_PX - width + 1)
        covered = np.zeros((SIDE_PX, SIDE_PX), dtype=bool)
        covered[y : y + height, x : x + width] = thing.ink
        left = [(below, seen & ~covered) for below, seen in placed]
        if all(100 * seen.sum() >= _LEAST_SEEN_PCT * below.ink.sum() for below, seen in left):
            pixels[y : y + height, x : x + width][thing.ink] = thing.colours[thing.ink]
            placed[:] = [*left, (thing, covered)]
            return


def _heap(scans: _Scans, *, draw: Draw) -> _Thing:
    import numpy as np

    label = int(draw.randint(10))
    side = _HEAP_SIDE_PX + _HEAP_REACH_PX
    ink = np.zeros((side, side), dtype=bool)
    colours = np.zeros((side, side, 3), dtype=np.uint8)
    members = scans.some(_HEAP_SCANS, label=label)
    for index in members:
        y, x = draw.randint(_HEAP_REACH_PX + 1, size=2)
        one, painted = _inked(scans.grey[index], side=_HEAP_SIDE_PX, draw=draw)
        place = np.s_[y : y + _HEAP_SIDE_PX, x : x + _HEAP_SIDE_PX]
        ink[place] |= one
        colours[place][one] = painted[one]
    return _Thing(label=label, ink=ink, colours=colours, scans=members)


def _inked(scan: Pixels, *, side: int, draw: Draw) -> tuple[Masked, Pixels]:
    """Return where an enlarged scan is ink, and in which colours: light ones, or dark."""
    grey = _enlarged(scan, side).astype(int)
    low, high = (170, 256) if draw.randint(4) else (0, 50)
    colour = draw.randint(low, high, size=3)
    # a scan's own grey shades the ink, from three quarters of the colour on
    shaded = colour[None, None] * (765 + grey[..., None]) // 1020
    return grey >= _INK, shaded.astype("uint8")


def _background(draw: Draw) -> Pixels:
    """Return (SIDE_PX, SIDE_PX, 3) texture, coarse and fine, with strokes that are no digit."""
    import numpy as np
    from PIL import Image, ImageDraw

    coarse = _enlarged(draw.randint(55, 130, size=(6, 6, 3)).astype("uint8"), SIDE_PX)
    fine = draw.randint(-12, 13, size=(SIDE_PX, SIDE_PX, 1))
    image = Image.fromarray((coarse.astype(int) + fine).astype("uint8"))
    canvas = ImageDraw.Draw(image)
    for _ in range(draw.randint(1, 4)):
        ends = draw.randint(SIDE_PX, size=4).tolist()
        colour = tuple(draw.randint(140, 220, size=3).tolist())
        canvas.line(ends, fill=colour, width=int(draw.randint(2, 5)))
    return np.array(image)


def _enlarged(pixels: Pixels, side: int) -> Pixels:
    import numpy as np
    from PIL import Image

    image = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
    return np.array(image)
