"""Makes small folders in the layout of MS-COCO 2017, free to be spoiled."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jobs.data.coco.masks import read_counts

WIDTH, HEIGHT = 64, 48
CATEGORIES = [{"id": 3, "name": "cup"}, {"id": 7, "name": "fork"}, {"id": 90, "name": "plate"}]
Document = dict[str, Any]


@dataclass(frozen=True)
class CocoFolder:
    """A folder and ways to spoil it."""

    root: Path

    def file(self, split: str) -> Path:
        return self.root / "annotations" / f"instances_{split}2017.json"

    def image(self, split: str, name: str) -> Path:
        return self.root / f"{split}2017" / name

    def read(self, split: str) -> Document:
        found: Document = json.loads(self.file(split).read_text("utf-8"))
        return found

    def change(self, split: str, change: Callable[[Document], object]) -> None:
        """Let `change` work on the annotation file of a split."""
        document = self.read(split)
        change(document)
        self.file(split).write_text(json.dumps(document), "utf-8")

    def change_object(self, **fields: Any) -> None:
        """Set fields of the first training object; None removes one."""

        def change(document: Document) -> None:
            one = document["annotations"][0]
            one.update(fields)
            for name in [name for name, value in fields.items() if value is None]:
                del one[name]

        self.change("train", change)


def rectangle(x: float, y: float, width: float, height: float) -> list[float]:
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def runs(x: int, y: int, width: int, height: int) -> list[int]:
    """Return the run lengths of a rectangle, column by column."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.int8)
    mask[y : y + height, x : x + width] = 1
    flat = np.concatenate([[0], mask.ravel(order="F"), [0]])
    edges = np.flatnonzero(np.diff(flat))
    counts: list[int] = np.diff(np.concatenate([[0], edges, [WIDTH * HEIGHT]])).tolist()
    return counts


def drawn(segmentation: Document) -> NDArray[np.bool_]:
    """Return the pixels that run lengths of either kind stand for."""
    counts = segmentation["counts"]
    runs = read_counts(counts) if isinstance(counts, str) else counts
    height, width = segmentation["size"]
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def small_coco(root: Path, *, train: int = 4, val: int = 2) -> CocoFolder:
    """Write images of noise with a cup and a fork each, and a crowd of plates in the first.

    The cup is a polygon, the fork run lengths, the crowd run lengths, too; ids have gaps.
    """
    (root / "annotations").mkdir(parents=True)
    folder = CocoFolder(root)
    for split, count in (("train", train), ("val", val)):
        (root / f"{split}2017").mkdir()
        first = 1000 if split == "train" else 2000
        images = [_image(folder, split, first + number) for number in range(count)]
        objects = [one for image in images for one in _objects(image["id"])]
        objects.append(_object(99_000 + first, first, runs(10, 20, 30, 20), 90, crowd=1))
        document = {"images": images, "annotations": objects, "categories": CATEGORIES}
        folder.file(split).write_text(json.dumps(document), "utf-8")
    return folder


def _image(folder: CocoFolder, split: str, number: int) -> Document:
    name = f"{number:012d}.jpg"
    pixels = np.random.RandomState(number).randint(256, size=(HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder.image(split, name))
    return {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT}


def _objects(image: int) -> list[Document]:
    return [
        {
            "id": 10 * image,
            "image_id": image,
            "category_id": 3,
            "bbox": [4, 5, 12, 10],
            "area": 120.0,
            "iscrowd": 0,
            "segmentation": [rectangle(4, 5, 12, 10)],
        },
        _object(10 * image + 5, image, runs(20, 10, 16, 8), 7, crowd=0),
    ]


def _object(number: int, image: int, counts: list[int], category: int, *, crowd: int) -> Document:
    from pycocotools import mask

    segmentation = {"size": [HEIGHT, WIDTH], "counts": counts}
    encoded = mask.frPyObjects(segmentation, HEIGHT, WIDTH)
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": mask.toBbox(encoded).tolist(),
        "area": int(mask.area(encoded)),
        "iscrowd": crowd,
        "segmentation": segmentation,
    }
