"""RoIAlign and RoIPool, forward and backward, into buffers that the caller made.

Regions are rows ``(image, x1, y1, x2, y2)``; `spatial_scale` takes their pixels to cells of the
map. The buffers and their order are mmcv's contract, hence the many positional arguments.
"""

from __future__ import annotations

import torch
import torchvision  # noqa: F401 - its import registers torch.ops.torchvision
from torch import Tensor

from detection.errors import MissingOperatorError
from detection.ops.precision import wide

MAXIMUM, MEAN = range(2)


def roi_align_forward(
    features: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fill `output` with the mean of bilinear samples in each bin of each region.

    Args:
        features: (N, C, H, W).
        rois: (R, 5).
        output: (R, C, aligned_height, aligned_width).
        argmax_y: Of the maximum; not used.
        argmax_x: Of the maximum; not used.
        aligned_height: Bins from top to bottom.
        aligned_width: Bins from left to right.
        spatial_scale: Cells of the map per pixel.
        sampling_ratio: Samples per bin and direction; 0: one per cell, rounded up.
        pool_mode: 1, the mean.
        aligned: Whether the middle of a cell, not its corner, has its coordinate.

    Raises:
        MissingOperatorError: The maximum is asked for.
    """
    if pool_mode != MEAN:
        raise MissingOperatorError("roi_align_forward", detail="with pool_mode='max'")
    output.copy_(
        torch.ops.torchvision.roi_align(
            wide(features),
            rois.to(wide(features).dtype),
            spatial_scale,
            aligned_height,
            aligned_width,
            sampling_ratio,
            aligned,
        )
    )


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fill `grad_input`, (N, C, H, W), from `grad_output`; see `roi_align_forward`."""
    if pool_mode != MEAN:
        raise MissingOperatorError("roi_align_backward", detail="with pool_mode='max'")
    grad_input.copy_(
        torch.ops.torchvision._roi_align_backward(
            wide(grad_output),
            rois.to(wide(grad_output).dtype),
            spatial_scale,
            aligned_height,
            aligned_width,
            *grad_input.shape,
            sampling_ratio,
            aligned,
        )
    )


def roi_pool_forward(
    features: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    *,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Fill `output` with the greatest value in each bin of each region, 0 where a bin is empty.

    The bins are mmcv's, which reach from the cell that holds their beginning to the one that holds
    their end; torchvision's `roi_pool` rounds the region first and differs.

    Args:
        features: (N, C, H, W).
        rois: (R, 5); the far corner belongs to the region.
        output: (R, C, pooled_height, pooled_width).
        argmax: The same shape, int32: filled with row * W + column of each maximum, -1 where a
            bin is empty.
        pooled_height: Bins from top to bottom.
        pooled_width: Bins from left to right.
        spatial_scale: Cells of the map per pixel.
    """
    height, width = features.shape[2:]
    image = rois[:, 0].long()
    sides = wide(rois)[:, 1:].reshape(-1, 2, 2) + rois.new_tensor([[0], [1]])
    corners = sides * spatial_scale  # (R, near or far, x or y)
    left, right = _bins(corners[..., 0], count=pooled_width, cells=width)
    top, bottom = _bins(corners[..., 1], count=pooled_height, cells=height)
    inside = (corners[:, 1] > corners[:, 0]).all(dim=1)
    maps = wide(features).flatten(2)  # (N, C, HW)
    best = maps.new_full(output.shape, -torch.inf)
    argmax.fill_(-1)
    # One step for each place that a cell can have in a bin: memory stays that of the output.
    for down in range(_most(top, bottom)):
        for along in range(_most(left, right)):
            row, column = top + down, left + along
            there = (row < bottom)[:, :, None] & (column < right)[:, None, :]
            there = (there & inside[:, None, None])[:, None]
            cell = row.clamp(max=height - 1)[:, :, None] * width
            cell = cell + column.clamp(max=width - 1)[:, None, :]
            value = maps.movedim(1, -1)[image[:, None, None], cell].movedim(-1, 1)
            better = there & (value > best)
            best = torch.where(better, value, best)
            argmax.copy_(torch.where(better, cell[:, None].to(argmax.dtype), argmax))
    output.copy_(best.masked_fill(argmax < 0, 0))


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    *,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Fill `grad_input`, (N, C, H, W), from `grad_output`; see `roi_pool_forward`."""
    images, channels, height, width = grad_input.shape
    plane = rois[:, :1].long() * channels + torch.arange(channels, device=rois.device)
    cell = plane[:, :, None, None] * (height * width) + argmax
    took = argmax >= 0
    total = wide(grad_output).new_zeros(images * channels * height * width)
    total.index_add_(0, cell[took].long(), wide(grad_output)[took])
    grad_input.copy_(total.view_as(grad_input))


def _bins(ends: Tensor, *, count: int, cells: int) -> tuple[Tensor, Tensor]:
    """Return the first cell of each bin and the one after its last, (R, count) each."""
    start, step = ends[:, :1], (ends[:, 1:] - ends[:, :1]) / count
    edge = torch.arange(count, device=ends.device)
    first = (edge * step + start).floor().long().clamp(0, cells)
    after = ((edge + 1) * step + start).ceil().long().clamp(0, cells)
    return first, after


def _most(first: Tensor, after: Tensor) -> int:
    return int((after - first).max()) if first.numel() else 0
