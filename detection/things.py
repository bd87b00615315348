"""Things to draw on an image: what was found, what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from faster_coco_eval.core import mask as rle

from detection.found import Found

LEAST_SCORE: Final = 0.3
"""What was found with less certainty is not drawn."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


@dataclass(frozen=True)
class Thing:
    """Something to draw.

    Attributes:
        box: In pixels of the image.
        label: Place of its category, from 0.
        score: 0 to 1, of what was found; None of what is there.
        mask: Compressed run-length encoding of the image's size, or None.
        is_crowd: Many of a category as one: hatched and dashed.
    """

    box: Box
    label: int
    score: float | None = None
    mask: Mapping[str, Any] | None = None
    is_crowd: bool = False


def things_found(found: Found, *, least_score: float = LEAST_SCORE) -> list[Thing]:
    """Return what was found with at least `least_score`, the most certain first."""
    order = np.argsort(-found.scores, kind="stable")
    return [
        Thing(
            box=_box(found.boxes[index].tolist()),
            label=int(found.labels[index]),
            score=float(found.scores[index]),
            mask=found.masks[index] if found.masks is not None else None,
        )
        for index in order
        if found.scores[index] >= least_score
    ]


def things_annotated(
    annotations: Sequence[Mapping[str, Any]],
    *,
    category_ids: Sequence[int],
    height: int,
    width: int,
) -> list[Thing]:
    """Return the objects of one image.

    Args:
        annotations: As in COCO's format: polygons or either run-length encoding.
        category_ids: The annotation file's number of each label.
        height: Of the image.
        width: Of the image.
    """
    label_of = {number: label for label, number in enumerate(category_ids)}
    things = []
    for entry in annotations:
        left, top, wide, high = map(float, entry["bbox"])
        things.append(
            Thing(
                box=(left, top, left + wide, top + high),
                label=label_of[entry["category_id"]],
                mask=_encoded(entry.get("segmentation"), height=height, width=width),
                is_crowd=bool(entry.get("iscrowd", 0)),
            )
        )
    return things


def _encoded(segmentation: Any, *, height: int, width: int) -> Mapping[str, Any] | None:
    if not segmentation:
        return None
    if isinstance(segmentation, list):
        merged: Mapping[str, Any] = rle.merge(rle.frPyObjects(segmentation, height, width))
        return merged
    if isinstance(segmentation["counts"], list):
        packed: Mapping[str, Any] = rle.frPyObjects(segmentation, height, width)
        return packed
    given: Mapping[str, Any] = segmentation
    return given


def _box(corners: Sequence[float]) -> Box:
    left, top, right, bottom = corners
    return (left, top, right, bottom)
