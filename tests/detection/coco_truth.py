"""Made annotation files in COCO's format, and findings derived from annotations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from faster_coco_eval.core import mask as fast_mask
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from detection.found import Found, Rle

HEIGHT, WIDTH = 160, 220
CATEGORIES = ({"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}, {"id": 1, "name": "absent"})
"""Numbers with gaps and out of order; nothing is ever annotated as the last."""
CATEGORY_IDS = tuple(int(str(category["id"])) for category in CATEGORIES)
Mask = NDArray[np.bool_]


def write_truth(file: Path, *, seed: int, images: int = 12, objects: int = 8) -> dict[str, Any]:
    """Write blobs of every size, some of them crowds, some images empty; return the content."""
    draw = np.random.default_rng(seed)
    annotations: list[dict[str, Any]] = []
    for image_id in range(1, images + 1):
        for _ in range(0 if image_id % 6 == 0 else int(draw.integers(1, objects))):
            mask = blob(draw)
            is_crowd = bool(draw.random() < 0.15)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": int(draw.choice(CATEGORY_IDS[:2])),
                    "iscrowd": int(is_crowd),
                    **described(mask),
                }
            )
    truth = {
        "images": [
            {"id": number, "file_name": f"{number:04d}.png", "width": WIDTH, "height": HEIGHT}
            for number in range(1, images + 1)
        ],
        "annotations": annotations,
        "categories": list(CATEGORIES),
    }
    file.write_text(json.dumps(truth))
    return truth


def blob(draw: np.random.Generator, *, height: int = HEIGHT, width: int = WIDTH) -> Mask:
    """Draw an ellipse, now and then larger than the image; never empty."""
    rows, columns = np.mgrid[:height, :width]
    centre_y, centre_x = draw.uniform(0, height), draw.uniform(0, width)
    half_y, half_x = draw.uniform(4, 90, size=2)
    mask: Mask = ((rows - centre_y) / half_y) ** 2 + ((columns - centre_x) / half_x) ** 2 <= 1
    mask[int(centre_y), int(centre_x)] = True
    return mask


def described(mask: Mask) -> dict[str, Any]:
    """Return the mask, its area and its box as annotations have them."""
    encoded = encode(mask)
    return {
        "segmentation": encoded,
        "area": int(mask.sum()),
        "bbox": coco_mask.toBbox(encoded).tolist(),
    }


def encode(mask: Mask) -> Rle:
    """Encode an (H, W) mask."""
    found = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in found["size"]], "counts": found["counts"].decode()}


def perturbed(
    truth: dict[str, Any], *, seed: int, category_ids: Sequence[int], each: int = 3
) -> list[Found]:
    """Find every object a few times, more or less exactly, now and then as something else."""
    draw = np.random.default_rng(seed)
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    labels = {number: label for label, number in enumerate(category_ids)}
    by_image: dict[int, list[tuple[Mask, int]]] = {number: [] for number in sizes}
    for entry in truth["annotations"]:
        mask = decode(entry["segmentation"], size=sizes[entry["image_id"]])
        for _ in range(int(draw.integers(0, each + 1))):
            label = labels[entry["category_id"]]
            if draw.random() < 0.1:
                label = int(draw.integers(len(labels)))
            by_image[entry["image_id"]].append((_moved(mask, draw), label))
    return [_found(number, masks, draw) for number, masks in by_image.items()]


def decode(segmentation: Any, *, size: tuple[int, int]) -> Mask:
    """Return the (H, W) mask of polygons or of either run-length encoding."""
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
    elif isinstance(segmentation["counts"], list):
        segmentation = coco_mask.frPyObjects(segmentation, *size)
    # that of pycocotools does not get on with today's NumPy
    mask: Mask = fast_mask.decode(segmentation).astype(bool)
    return mask


def _moved(mask: Mask, draw: np.random.Generator) -> Mask:
    shifts = draw.integers(-3, 4, size=2)
    moved: Mask = np.roll(mask, shifts, axis=(0, 1))
    if draw.random() < 0.3:
        moved = moved & np.roll(moved, 3, axis=1)
    return moved if moved.any() else mask


def _found(image_id: int, many: Sequence[tuple[Mask, int]], draw: np.random.Generator) -> Found:
    masks = tuple(encode(mask) for mask, _ in many)
    boxes = np.array([coco_mask.toBbox(mask) for mask in masks]).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    scores = draw.random(len(many))
    return Found(
        image_id=image_id,
        boxes=(boxes + draw.normal(0, 1.5, boxes.shape)).astype(np.float32),
        # rounded, so that many are equal: whoever comes first is then matched first
        scores=np.sort(scores.round(2))[::-1].astype(np.float32),
        labels=np.array([label for _, label in many], np.int64),
        masks=masks,
    )
