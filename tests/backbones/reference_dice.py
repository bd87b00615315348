"""The DiCE unit by its definition, one number of the volume at a time, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

EPSILON = 1e-5

Volume = Tensor
"""One image: channels, rows, columns."""
State = Mapping[str, Tensor]


def unit(x: Tensor, state: State, *, size: tuple[int, int], training: bool) -> Tensor:
    """Compute the unit.

    Args:
        x: (N, C, H, W).
        state: Of the unit, by the names here.
        size: Rows and columns that have kernels.
        training: Whether norms take the statistics of the batch.
    """
    images = [_three_ways(volume, state, size) for volume in x]
    mixed = _activate(torch.stack(images), state, "branch_norm", "branch_act", training)
    channels = x.shape[1]
    weights = state["local.conv.weight"].reshape(channels, 3)
    together = [
        weights[c, 0] * mixed[:, c]
        + weights[c, 1] * mixed[:, channels + c]
        + weights[c, 2] * mixed[:, 2 * channels + c]
        for c in range(channels)
    ]
    z = _activate(torch.stack(together, 1), state, "local.norm", "local.act", training)
    projected = _activate(
        torch.stack([_project(volume, state["project.conv.weight"]) for volume in z]),
        state,
        "project.norm",
        "project.act",
        training,
    )
    means = z.sum((2, 3)) / (z.shape[2] * z.shape[3])
    hidden = means @ state["squeeze.weight"][:, :, 0, 0].t()
    hidden = torch.where(hidden > 0, hidden, 0 * hidden)
    gate = 1 / (1 + torch.exp(-(hidden @ state["excite.weight"][:, :, 0, 0].t())))
    return projected * gate[:, :, None, None]


def _three_ways(x: Volume, state: State, size: tuple[int, int]) -> Volume:
    _, height, width = x.shape
    depth, rows, columns = (
        state[f"{name}_conv.weight"][:, 0] for name in ("depth", "height", "width")
    )
    by_depth = _stencil(x, lambda c, h, w, i, j: ((c, h + i, w + j), depth[c]))
    tall = _resize(x, 1, size[0])
    by_rows = _stencil(tall, lambda c, h, w, i, j: ((c + i, h, w + j), rows[h]))
    wide = _resize(x, 2, size[1])
    by_columns = _stencil(wide, lambda c, h, w, i, j: ((c + j, h + i, w), columns[w]))
    return torch.cat((by_depth, _resize(by_rows, 1, height), _resize(by_columns, 2, width)))


Place = tuple[int, int, int]


def _stencil(x: Volume, at: Callable[[int, int, int, int, int], tuple[Place, Tensor]]) -> Volume:
    """Sum nine products for each number; `at` says which number and which kernel."""
    channels, height, width = x.shape
    numbers = []
    for c in range(channels):
        for h in range(height):
            for w in range(width):
                total = x.new_zeros(())
                for i in (-1, 0, 1):
                    for j in (-1, 0, 1):
                        place, kernel = at(c, h, w, i, j)
                        inside = zip(place, x.shape, strict=True)
                        if all(0 <= p < n for p, n in inside):
                            total = total + kernel[i + 1, j + 1] * x[place]
                numbers.append(total)
    return torch.stack(numbers).reshape(x.shape)


def _resize(x: Volume, dimension: int, length: int) -> Volume:
    """Interpolate between the ends to a larger length; average windows to a smaller."""
    before = x.shape[dimension]
    if before == length:
        return x
    lines = []
    for o in range(length):
        if before < length:
            position = o * (before - 1) / (length - 1)
            first = min(math.floor(position), before - 1)
            share = position - first
            low, high = x.select(dimension, first), x.select(dimension, min(first + 1, before - 1))
            lines.append((1 - share) * low + share * high)
        else:
            first, last = o * before // length, -(-(o + 1) * before // length)
            lines.append(x.narrow(dimension, first, last - first).sum(dimension) / (last - first))
    return torch.stack(lines, dimension)


def _project(z: Volume, kernel: Tensor) -> Volume:
    _, height, width = z.shape
    out_channels, in_each = kernel.shape[:2]
    groups = z.shape[0] // in_each
    padded = z.new_zeros(z.shape[0], height + 2, width + 2)
    padded[:, 1:-1, 1:-1] = z
    numbers = []
    for o in range(out_channels):
        first = o // (out_channels // groups) * in_each
        for h in range(height):
            for w in range(width):
                window = padded[first : first + in_each, h : h + 3, w : w + 3]
                numbers.append((window * kernel[o]).sum())
    return torch.stack(numbers).reshape(out_channels, height, width)


def _activate(x: Tensor, state: State, norm: str, act: str, training: bool) -> Tensor:
    channels = []
    for c in range(x.shape[1]):
        values = x[:, c]
        if training:
            mean = values.sum() / values.numel()
            variance = ((values - mean) ** 2).sum() / values.numel()
        else:
            mean, variance = state[f"{norm}.running_mean"][c], state[f"{norm}.running_var"][c]
        scaled = (values - mean) / torch.sqrt(variance + EPSILON)
        y = scaled * state[f"{norm}.weight"][c] + state[f"{norm}.bias"][c]
        channels.append(torch.where(y > 0, y, state[f"{act}.weight"][c] * y))
    return torch.stack(channels, dim=1)


def mean_of_windows(x: Tensor, *, stride: int) -> Tensor:
    """Average windows of 3x3, a border of zeros counted, at every `stride`-th pixel."""
    padded = x.new_zeros(*x.shape[:2], x.shape[2] + 2, x.shape[3] + 2)
    padded[:, :, 1:-1, 1:-1] = x
    rows = [
        torch.stack(
            [
                padded[:, :, h : h + 3, w : w + 3].sum((2, 3)) / 9
                for w in range(0, x.shape[3], stride)
            ],
            dim=2,
        )
        for h in range(0, x.shape[2], stride)
    ]
    return torch.stack(rows, dim=2)
