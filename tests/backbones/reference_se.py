"""Squeeze-and-Excitation number by number, in float64 (arXiv 1709.01507, equations 2 to 4).

Without a squeeze: arXiv 1910.03151, equations 3 to 5.
"""

from __future__ import annotations

from torch import Tensor

from tests.backbones.reference_gate import layer, means, scaled


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
    logits = []
    for image in x:
        hidden = [value if value > 0 else value * 0 for value in layer(means(image), w1, b1)]
        logits.append(layer(hidden, w2, b2))
    return scaled(x, logits)


def matrix_excitation(x: Tensor, *, w: Tensor, b: Tensor | None) -> Tensor:
    """Gate a map with a matrix that has blocks along its diagonal.

    Args:
        x: (N, C, H, W) float64.
        w: (C, C / G): the rows of all blocks, one below another.
        b: (C) or none.
    """
    size = w.shape[1]
    logits = []
    for image in x:
        mean = means(image)
        row: list[Tensor] = []
        for first in range(0, len(mean), size):
            rows = slice(first, first + size)
            row += layer(mean[rows], w[rows], None if b is None else b[rows])
        logits.append(row)
    return scaled(x, logits)


def mean_excitation(x: Tensor) -> Tensor:
    """Gate a map with its own means."""
    return scaled(x, [means(image) for image in x])
