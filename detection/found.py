"""What a detector found on images, and how it is written down."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from faster_coco_eval.core import mask as rle

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PIXEL_DIGITS, _SCORE_DIGITS = 3, 6
"""Decimals of what is written: a thousandth of a pixel, a millionth of a score."""


class Rle(TypedDict):
    """A mask in COCO's compressed run-length encoding.

    Attributes:
        size: Height and width.
        counts: ASCII.
    """

    size: list[int]
    counts: str


@dataclass(frozen=True)
class Found:
    """What a detector found on one image, in pixels of the original image.

    Attributes:
        image_id: As in the annotation file.
        boxes: (n, 4) left, top, right, bottom.
        scores: (n,) 0 to 1.
        labels: (n,) place of the category among the detector's, from 0.
        masks: n of them, or None of a detector without masks.
    """

    image_id: int
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: tuple[Rle, ...] | None = None


def from_sample(sample: Any) -> Found:
    """Take over what mmdet predicted for one image.

    Masks are encoded here, so that they take a few hundred bytes instead of a byte a pixel.

    Args:
        sample: ``DetDataSample`` with ``pred_instances`` (boxes and masks in pixels of the original
            image, on any device) and ``img_id``.
    """
    instances = sample.pred_instances
    return Found(
        image_id=int(sample.img_id),
        boxes=instances.bboxes.detach().float().cpu().numpy().reshape(-1, 4),
        scores=instances.scores.detach().float().cpu().numpy(),
        labels=instances.labels.detach().cpu().numpy().astype(np.int64),
        masks=_encoded(instances.masks) if "masks" in instances else None,
    )


def _encoded(masks: Any) -> tuple[Rle, ...]:
    """Encode an (n, H, W) boolean tensor."""
    if not len(masks):
        return ()
    # the encoder wants (H, W, n) with H the fastest, which is the memory of (n, W, H)
    columns = masks.transpose(1, 2).contiguous().cpu().numpy().astype(np.uint8, copy=False)
    return tuple(map(_ascii, rle.encode(columns.transpose(2, 1, 0))))


def _ascii(encoded: Mapping[str, Any]) -> Rle:
    counts = encoded["counts"]
    text = counts.decode("ascii") if isinstance(counts, bytes) else counts
    return {"size": [int(side) for side in encoded["size"]], "counts": text}


def results(many: Iterable[Found], *, category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return findings in COCO's results format.

    Args:
        many: One each image.
        category_ids: The annotation file's number of each label.

    Returns:
        One entry each: image_id, category_id, bbox (left, top, width, height), score and, with
        masks, segmentation. Plain JSON.
    """
    return [entry for one in many for entry in _entries(one, category_ids)]


def _entries(one: Found, category_ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    corners = one.boxes.astype(np.float64)
    sides = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    boxes = sides.round(_PIXEL_DIGITS).tolist()
    scores = one.scores.astype(np.float64).round(_SCORE_DIGITS).tolist()
    for index, (box, score) in enumerate(zip(boxes, scores, strict=True)):
        entry = {
            "image_id": one.image_id,
            "category_id": category_ids[int(one.labels[index])],
            "bbox": box,
            "score": score,
        }
        yield entry if one.masks is None else {**entry, "segmentation": one.masks[index]}
