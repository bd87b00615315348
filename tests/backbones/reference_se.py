"""Squeeze-and-Excitation number by number, in float64 (arXiv 1709.01507, equations 2 to 4)."""

from __future__ import annotations

import torch
from torch import Tensor


def squeeze_excitation(
    x: Tensor, *, w1: Tensor, w2: Tensor, b1: Tensor | None, b2: Tensor | None
) -> Tensor:
    """Gate a map.

    Args:
        x: (N, C, H, W) float64.
        w1: (C / r, C).
        w2: (C, C / r).
        b1: (C / r) or none.
        b2: (C) or none.
    """
    images, channels, height, width = x.shape
    gated = []
    for n in range(images):
        pooled = [_mean(x[n, c], height, width) for c in range(channels)]
        squeezed = [value if value > 0 else value * 0 for value in _layer(pooled, w1, b1)]
        for c, value in enumerate(_layer(squeezed, w2, b2)):
            gated.append(x[n, c] / (1 + torch.exp(-value)))
    return torch.stack(gated).reshape(images, channels, height, width)


def _mean(values: Tensor, height: int, width: int) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for row in range(height):
        for column in range(width):
            total = total + values[row, column]
    return total / (height * width)


def _layer(values: list[Tensor], weight: Tensor, bias: Tensor | None) -> list[Tensor]:
    results = []
    for row in range(weight.shape[0]):
        result = bias[row] if bias is not None else torch.zeros((), dtype=torch.float64)
        for column, value in enumerate(values):
            result = result + weight[row, column] * value
        results.append(result)
    return results
