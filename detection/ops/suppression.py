"""Non-maximum suppression, hard and soft, as mmcv's extension answers it.

Boxes are ``(x1, y1, x2, y2)`` in pixels. With an offset of 1 both ends of a box count as its own,
so that a box from 3 to 3 is one pixel wide; with 0 it is empty.
"""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor

from detection.ops.precision import wide

NAIVE, LINEAR, GAUSSIAN = range(3)


def nms(boxes: Tensor, scores: Tensor, *, iou_threshold: float, offset: int) -> Tensor:
    """Choose the boxes that no better box overlaps by more than a threshold.

    Args:
        boxes: (N, 4).
        scores: (N,).
        iou_threshold: A box goes when its overlap with a chosen one is above this, in [0, 1].
        offset: 0 or 1.

    Returns:
        (K,) int64: which boxes stay, best first.
    """
    boxes, scores = _ended(boxes, offset=offset), wide(scores)
    dtype = torch.promote_types(boxes.dtype, scores.dtype)
    kept: Tensor = torchvision.ops.nms(boxes.to(dtype), scores.to(dtype), iou_threshold)
    return kept


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    *,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Choose boxes, best first, and lower the scores of those that overlap a chosen one.

    Args:
        boxes: (N, 4) on the CPU.
        scores: (N,) on the CPU.
        dets: (N, 5): its first K rows are filled with the chosen boxes and their scores.
        iou_threshold: From here on an overlap lowers a score; the Gaussian has none.
        sigma: Width of the Gaussian, > 0.
        min_score: A box whose lowered score is below this goes.
        method: 0 sets the score to 0, 1 multiplies it by one minus the overlap, 2 by a Gaussian
            of the overlap.
        offset: 0 or 1.

    Returns:
        (K,) int64: which boxes they are.
    """
    ended = _ended(boxes, offset=offset)
    left, score = torch.arange(len(boxes)), wide(scores).clone()
    chosen: list[int] = []
    while left.numel():
        best = int(score.argmax())
        index = int(left[best])
        dets[len(chosen), :4] = boxes[index]
        dets[len(chosen), 4] = score[best]
        chosen.append(index)
        others = torch.arange(left.numel()) != best
        left, score = left[others], score[others]
        overlap = torchvision.ops.box_iou(ended[index][None], ended[left])[0]
        score = score * _weight(
            overlap, iou_threshold=iou_threshold, sigma=sigma, method=method
        ).to(score.dtype)
        enough = ~(score < min_score)
        left, score = left[enough], score[enough]
    return torch.tensor(chosen, dtype=torch.int64)


def nms_match(dets: Tensor, *, iou_threshold: float) -> list[list[int]]:
    """Put each box to the best one that it overlaps.

    Args:
        dets: (N, 5) on the CPU: boxes and their scores.
        iou_threshold: Overlap from which on a box belongs to a better one.

    Returns:
        The groups; each begins with its best box, then the others by score.
    """
    left = wide(dets[:, 4]).argsort(descending=True, stable=True)
    boxes = wide(dets[:, :4])
    groups: list[list[int]] = []
    while left.numel():
        near = torchvision.ops.box_iou(boxes[left[:1]], boxes[left])[0] >= iou_threshold
        near[0] = True  # an empty box overlaps nothing, itself included
        groups.append(left[near].tolist())
        left = left[~near]
    return groups


def _ended(boxes: Tensor, *, offset: int) -> Tensor:
    """Move the far corners so that widths are plain differences."""
    boxes = wide(boxes)
    return boxes + boxes.new_tensor([0, 0, offset, offset]) if offset else boxes


def _weight(overlap: Tensor, *, iou_threshold: float, sigma: float, method: int) -> Tensor:
    if method == GAUSSIAN:
        return torch.exp(-(overlap**2) / sigma)
    lowered = torch.zeros_like(overlap) if method == NAIVE else 1 - overlap
    return torch.where(overlap >= iou_threshold, lowered, 1.0)
