"""AddressNet's primitives and block number by number, in float64 (our reading of arXiv 1809.08458).

Directions are spelled out here once more, so that a slip in the table of the operators shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

EPSILON = 1e-5
"""What a normalisation adds to a variance: PyTorch's default."""
RIGHT, LEFT, DOWN, UP = (0, 1), (0, -1), (1, 0), (-1, 0)
"""What is read: the pixel to the right, and so on."""
CORNERS = ((1, 1), (1, -1), (-1, 1), (-1, -1))
DIRECTIONS: Mapping[int, Sequence[tuple[int, int]]] = {
    0: (),
    4: (RIGHT, LEFT, DOWN, UP),
    5: ((0, 0), RIGHT, LEFT, DOWN, UP),
    8: (RIGHT, LEFT, DOWN, UP, *CORNERS),
    9: ((0, 0), RIGHT, LEFT, DOWN, UP, *CORNERS),
}


def address_shift(x: Tensor, *, directions: int, wraps: bool = False) -> Tensor:
    """Read each pixel of each channel from where its block's direction points.

    Args:
        x: (N, C, H, W).
        directions: How many.
        wraps: Whether what is beyond the border is read on in memory, within the channel.
    """
    channels = x.shape[1]
    block = channels // directions if directions else 0
    maps = []
    for c in range(channels):
        rank = c // block if block else directions
        dy, dx = DIRECTIONS[directions][rank] if rank < directions else (0, 0)
        maps.append(torch.stack([_moved(image[c], dy, dx, wraps=wraps) for image in x]))
    return torch.stack(maps, dim=1)


def _moved(plane: Tensor, dy: int, dx: int, *, wraps: bool) -> Tensor:
    height, width = plane.shape
    pixels = []
    for i in range(height):
        for j in range(width):
            y, x = i + dy, j + dx
            if wraps:
                place = (y * width + x) % (height * width)
                pixels.append(plane[place // width, place % width])
            elif 0 <= y < height and 0 <= x < width:
                pixels.append(plane[y, x])
            else:
                pixels.append(torch.zeros((), dtype=plane.dtype))
    return torch.stack(pixels).reshape(height, width)


def channel_shift(x: Tensor, distance: int) -> Tensor:
    """Rotate channels of (N, C, H, W)."""
    channels = x.shape[1]
    return torch.stack([x[:, (c + distance) % channels] for c in range(channels)], dim=1)


def shuffled_product(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, groups: int, stride: tuple[int, int]
) -> Tensor:
    """Convolve (N, C, H, W) by 1x1, output by output; pixels between strides are left out."""
    x = x[:, :, :: stride[0], :: stride[1]]
    inputs, outputs = weight.shape[1], weight.shape[0] // groups
    maps = []
    for o in range(weight.shape[0]):
        total = torch.zeros_like(x[:, 0])
        for k in range(inputs):
            total = total + weight[o, k, 0, 0] * x[:, o // outputs * inputs + k]
        maps.append(total if bias is None else total + bias[o])
    return torch.stack(maps, dim=1)


def shifted_pointwise(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    directions: int,
    distance: int,
    groups: int,
    stride: tuple[int, int] = (1, 1),
    wraps: bool = False,
) -> Tensor:
    """Apply address shift, channel shift and group convolution, one after the other."""
    moved = channel_shift(address_shift(x, directions=directions, wraps=wraps), distance)
    return shuffled_product(moved, weight, bias, groups=groups, stride=stride)


def block(
    x: Tensor,
    state: Mapping[str, Tensor],
    *,
    directions: int,
    distance: int,
    groups: int,
    stride: tuple[int, int],
    outputs: int,
    adds: bool,
    wraps: bool,
    training: bool,
) -> Tensor:
    """Apply AddressNet's block.

    Args:
        x: (N, C, H, W) float64.
        state: Of the block in float64.
        directions: Of the address shift.
        distance: Of the channel shift.
        groups: Of both convolutions.
        stride: Of the block.
        outputs: Channels that come out.
        adds: Whether the shortcut is a sum.
        wraps: Whether the address shift reads on in memory.
        training: Whether norms take the statistics of this batch.
    """
    wide = shuffled_product(x, state["expand.weight"], groups=groups, stride=(1, 1))
    wide = _normalise(wide, state, "expand_norm", training=training).clamp_min(0)
    y = shifted_pointwise(
        wide,
        state["project.conv.weight"],
        directions=directions,
        distance=distance,
        groups=groups,
        stride=stride,
        wraps=wraps,
    )
    y = _normalise(y, state, "project_norm", training=training)
    pooled = _average(x, stride)
    channels = x.shape[1]
    if adds:
        sums = [y[:, o] + pooled[:, o] if o < channels else y[:, o] for o in range(outputs)]
        return torch.stack(sums, dim=1).clamp_min(0)
    kept = outputs - y.shape[1]
    maps = [pooled[:, channels - kept + c] for c in range(kept)]
    maps += [y[:, c].clamp_min(0) for c in range(y.shape[1])]
    return torch.stack(maps, dim=1)


def _average(x: Tensor, stride: tuple[int, int]) -> Tensor:
    """Average the cells under each window of the stride; at the border there may be fewer."""
    down, right = stride
    rows = []
    for top in range(0, x.shape[2], down):
        cells = [
            x[:, :, top : top + down, left : left + right].mean((2, 3))
            for left in range(0, x.shape[3], right)
        ]
        rows.append(torch.stack(cells, dim=2))
    return torch.stack(rows, dim=2)


def _normalise(x: Tensor, state: Mapping[str, Tensor], name: str, *, training: bool) -> Tensor:
    maps = []
    for c in range(x.shape[1]):
        values = x[:, c]
        if training:
            mean = values.sum() / values.numel()
            variance = ((values - mean) ** 2).sum() / values.numel()
        else:
            mean, variance = state[f"{name}.running_mean"][c], state[f"{name}.running_var"][c]
        scaled = (values - mean) / torch.sqrt(variance + EPSILON)
        maps.append(state[f"{name}.weight"][c] * scaled + state[f"{name}.bias"][c])
    return torch.stack(maps, dim=1)
