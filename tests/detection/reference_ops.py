"""mmcv's operators as plain loops in double precision, under the names and with the buffers of
``mmcv._ext``. Nothing is shared with what is tested: neither code nor torchvision."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def nms(boxes: Tensor, scores: Tensor, *, iou_threshold: float, offset: int) -> Tensor:
    order = sorted(range(len(boxes)), key=lambda index: -scores[index].item())
    kept: list[int] = []
    for index in order:
        overlaps = (_iou(boxes[index], boxes[one], offset=offset) for one in kept)
        if not any(overlap > iou_threshold for overlap in overlaps):
            kept.append(index)
    return torch.tensor(kept, dtype=torch.int64)


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
    left = {index: scores[index].item() for index in range(len(boxes))}
    chosen: list[int] = []
    while left:
        best = max(left, key=lambda index: left[index])
        dets[len(chosen)] = torch.tensor([*boxes[best].tolist(), left.pop(best)])
        chosen.append(best)
        for index in list(left):
            overlap = _iou(boxes[best], boxes[index], offset=offset)
            if method == 2:
                left[index] *= math.exp(-(overlap**2) / sigma)
            elif overlap >= iou_threshold:
                left[index] *= 0 if method == 0 else 1 - overlap
            if left[index] < min_score:
                del left[index]
    return torch.tensor(chosen, dtype=torch.int64)


def nms_match(dets: Tensor, *, iou_threshold: float) -> list[list[int]]:
    left = sorted(range(len(dets)), key=lambda index: -dets[index, 4].item())
    groups = []
    while left:
        best = left.pop(0)
        near = [one for one in left if _iou(dets[best], dets[one], offset=0) >= iou_threshold]
        left = [one for one in left if one not in near]
        groups.append([best, *near])
    return groups


def roi_align_forward(
    features: Tensor, rois: Tensor, output: Tensor, argmax_y: Tensor, argmax_x: Tensor, **how: Any
) -> None:
    output.copy_(align(features, rois, **how))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    **how: Any,
) -> None:
    features = torch.zeros(grad_input.shape, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        total = (align(features, rois.cpu(), **how) * grad_output.double().cpu()).sum()
    (gradient,) = torch.autograd.grad(total, features)
    grad_input.copy_(gradient)


def align(features: Tensor, rois: Tensor, **how: Any) -> Tensor:
    """The mean of bilinear samples in each bin of each region, (R, C, height, width)."""
    maps = features.double()
    height, width = how["aligned_height"], how["aligned_width"]
    shift = 0.5 if how["aligned"] else 0.0
    answer = []
    for image, *corners in rois.double().tolist():
        x1, y1, x2, y2 = (corner * how["spatial_scale"] - shift for corner in corners)
        wide, high = x2 - x1, y2 - y1
        if not how["aligned"]:
            wide, high = max(wide, 1), max(high, 1)
        down = how["sampling_ratio"] or math.ceil(high / height)
        along = how["sampling_ratio"] or math.ceil(wide / width)
        for row in range(height):
            for column in range(width):
                total = maps.new_zeros(maps.shape[1])
                for i in range(down):
                    for j in range(along):
                        y = y1 + (row + (i + 0.5) / down) * high / height
                        x = x1 + (column + (j + 0.5) / along) * wide / width
                        total = total + sample(maps[int(image)], y=y, x=x)
                answer.append(total / max(down * along, 1))
    return torch.stack(answer).view(len(rois), height, width, -1).permute(0, 3, 1, 2)


def sample(plane: Tensor, *, y: float, x: float) -> Tensor:
    """Bilinear value of a map (C, H, W) at a point; up to one cell outside counts as the edge."""
    height, width = plane.shape[1:]
    if y < -1 or y > height or x < -1 or x > width:
        return plane.new_zeros(plane.shape[0])
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = math.floor(y), math.floor(x)
    total = plane.new_zeros(plane.shape[0])
    for row, share_y in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, share_x in ((left, 1 - (x - left)), (left + 1, x - left)):
            if 0 <= row < height and 0 <= column < width:
                total = total + share_y * share_x * plane[:, row, column]
    return total


def roi_pool_forward(
    features: Tensor, rois: Tensor, output: Tensor, argmax: Tensor, **how: Any
) -> None:
    maps = features.double()
    high, wide = features.shape[2:]
    rows, columns = how["pooled_height"], how["pooled_width"]
    output.zero_()
    argmax.fill_(-1)
    for index, (image, *corners) in enumerate(rois.double().tolist()):
        ends = [corner + (place > 1) for place, corner in enumerate(corners)]
        x1, y1, x2, y2 = (end * how["spatial_scale"] for end in ends)
        if x2 <= x1 or y2 <= y1:
            continue
        for row in range(rows):
            for column in range(columns):
                cells = [
                    (y, x)
                    for y in _cells(y1, y2, part=row, parts=rows, cells=high)
                    for x in _cells(x1, x2, part=column, parts=columns, cells=wide)
                ]
                for channel in range(maps.shape[1]) if cells else ():
                    values = [maps[int(image), channel, y, x].item() for y, x in cells]
                    best = values.index(max(values))
                    output[index, channel, row, column] = values[best]
                    argmax[index, channel, row, column] = cells[best][0] * wide + cells[best][1]


def roi_pool_backward(
    grad_output: Tensor, rois: Tensor, argmax: Tensor, grad_input: Tensor, **how: Any
) -> None:
    grad_input.zero_()
    width = grad_input.shape[3]
    for region, channel, row, column in (argmax >= 0).nonzero().tolist():
        y, x = divmod(int(argmax[region, channel, row, column]), width)
        image = int(rois[region, 0])
        grad_input[image, channel, y, x] += grad_output[region, channel, row, column]


def sigmoid_focal_loss_forward(
    logits: Tensor, target: Tensor, weight: Tensor, output: Tensor, *, gamma: float, alpha: float
) -> None:
    output.copy_(focal(logits.double(), target, weight, gamma=gamma, alpha=alpha))


def sigmoid_focal_loss_backward(
    logits: Tensor,
    target: Tensor,
    weight: Tensor,
    grad_input: Tensor,
    *,
    gamma: float,
    alpha: float,
) -> None:
    step = 1e-6
    wide = logits.double()
    above = focal(wide + step, target, weight, gamma=gamma, alpha=alpha)
    below = focal(wide - step, target, weight, gamma=gamma, alpha=alpha)
    grad_input.copy_((above - below) / (2 * step))


def focal(logits: Tensor, target: Tensor, weight: Tensor, *, gamma: float, alpha: float) -> Tensor:
    loss = torch.zeros_like(logits)
    for n, c in torch.ones_like(logits).nonzero().tolist():
        p = 1 / (1 + math.exp(-logits[n, c].item()))
        if target[n] == c:
            loss[n, c] = -alpha * (1 - p) ** gamma * math.log(p)
        else:
            loss[n, c] = -(1 - alpha) * p**gamma * math.log(1 - p)
        if weight.numel():
            loss[n, c] *= weight[target[n]].double()
    return loss


def deformable(
    features: Tensor,
    offset: Tensor,
    weight: Tensor,
    *,
    mask: Tensor | None = None,
    stride: int,
    padding: int,
    dilation: int,
    groups: int,
    offset_groups: int,
) -> Tensor:
    """Deformable convolution, (N, O, H', W'), of tensors in double precision."""
    images, channels = features.shape[:2]
    outputs, per_group, rows, columns = weight.shape
    taps = rows * columns
    answer = features.new_zeros(images, outputs, *offset.shape[2:])
    places = torch.ones(images, *offset.shape[2:]).nonzero().tolist()
    values: dict[tuple[int, ...], Tensor] = {}
    for n, y, x in places:
        columns_here = []
        for channel in range(channels):
            group = channel * offset_groups // channels
            for tap in range(taps):
                at = 2 * (group * taps + tap)
                value = _sample_at(
                    features[n, channel],
                    y * stride - padding + tap // columns * dilation + offset[n, at, y, x],
                    x * stride - padding + tap % columns * dilation + offset[n, at + 1, y, x],
                )
                if mask is not None:
                    value = value * mask[n, group * taps + tap, y, x]
                columns_here.append(value)
        values[n, y, x] = torch.stack(columns_here).view(groups, -1)
    kernels = weight.view(groups, outputs // groups, per_group * taps)
    for n, y, x in places:
        found = torch.einsum("gok,gk->go", kernels, values[n, y, x]).flatten()
        answer = answer.index_put(
            (torch.tensor(n), torch.arange(outputs), torch.tensor(y), torch.tensor(x)), found
        )
    return answer


def _sample_at(plane: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Bilinear value of (H, W) at a point through which gradients flow; zero outside."""
    height, width = plane.shape
    top, left = math.floor(y.detach()), math.floor(x.detach())
    total = plane.new_zeros(())
    for row, share_y in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, share_x in ((left, 1 - (x - left)), (left + 1, x - left)):
            if 0 <= row < height and 0 <= column < width:
                total = total + share_y * share_x * plane[row, column]
    return total


def _cells(start: float, end: float, *, part: int, parts: int, cells: int) -> range:
    step = (end - start) / parts
    first, after = math.floor(part * step + start), math.ceil((part + 1) * step + start)
    return range(min(max(first, 0), cells), min(max(after, 0), cells))


def _iou(one: Tensor, other: Tensor, *, offset: int) -> float:
    ax1, ay1, ax2, ay2 = one[:4].double().tolist()
    bx1, by1, bx2, by2 = other[:4].double().tolist()
    wide = max(min(ax2, bx2) - max(ax1, bx1) + offset, 0)
    high = max(min(ay2, by2) - max(ay1, by1) + offset, 0)
    first = (ax2 - ax1 + offset) * (ay2 - ay1 + offset)
    second = (bx2 - bx1 + offset) * (by2 - by1 + offset)
    union = first + second - wide * high
    return wide * high / union if union else math.nan
