"""Convolutional block attention number by number, in float64 (arXiv 1807.06521, section 3)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tests.backbones.reference_gate import layer, logistic, maxima, means, scaled

EPSILON = 1e-5
"""What a normalisation adds to a variance: PyTorch's default."""


def block_attention(
    x: Tensor, state: Mapping[str, Tensor], *, maximum_first: bool, training: bool
) -> Tensor:
    """Gate a map by its channels, then by its places, as far as there are weights for either.

    Args:
        x: (N, C, H, W) float64.
        state: Of the operator in float64: ``channel.squeeze.weight``, and so on.
        maximum_first: Whether the convolution sees the maximum before the mean.
        training: Whether the norm takes the statistics of this batch.
    """
    if "channel.squeeze.weight" in state:
        x = _by_channel(x, state)
    if "spatial.conv.weight" in state:
        x = _by_place(x, state, maximum_first=maximum_first, training=training)
    return x


def _by_channel(x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
    logits = []
    for image in x:
        said = [_perceptron(values, state) for values in (means(image), maxima(image))]
        logits.append([a + b for a, b in zip(*said, strict=True)])
    return scaled(x, logits)


def _perceptron(values: list[Tensor], state: Mapping[str, Tensor]) -> list[Tensor]:
    hidden = layer(values, state["channel.squeeze.weight"], state.get("channel.squeeze.bias"))
    positive = [value if value > 0 else value * 0 for value in hidden]
    return layer(positive, state["channel.excite.weight"], state.get("channel.excite.bias"))


def _by_place(
    x: Tensor, state: Mapping[str, Tensor], *, maximum_first: bool, training: bool
) -> Tensor:
    kernel = state["spatial.conv.weight"][0]
    logits = []
    for image in x:
        places = image.flatten(1).t()[:, None]
        planes = [
            torch.stack(pool([*places])).reshape(image.shape[1:]) for pool in (_largest, _average)
        ]
        logits.append(_convolve(planes if maximum_first else planes[::-1], kernel))
    seen = torch.stack(logits)
    names = ("weight", "bias", "running_mean", "running_var")
    scale, shift, mean, var = (state[f"spatial.norm.{name}"][0] for name in names)
    if training and seen.numel() > 1:
        mean = seen.sum() / seen.numel()
        var = ((seen - mean) ** 2).sum() / seen.numel()
    gates = logistic((seen - mean) / torch.sqrt(var + EPSILON) * scale + shift)
    return x * gates[:, None]


def _largest(places: list[Tensor]) -> list[Tensor]:
    return [maxima(place[:, None])[0] for place in places]


def _average(places: list[Tensor]) -> list[Tensor]:
    return [means(place[:, None])[0] for place in places]


def _convolve(planes: list[Tensor], kernel: Tensor) -> Tensor:
    """Convolve two planes with (2, k, k); beyond the border there is nought."""
    height, width = planes[0].shape
    reach = kernel.shape[1] // 2
    rows = []
    for row in range(height):
        for column in range(width):
            total = torch.zeros((), dtype=torch.float64)
            for plane, weights in zip(planes, kernel, strict=True):
                top, left = max(0, row - reach), max(0, column - reach)
                window = plane[top : row + reach + 1, left : column + reach + 1]
                down, right = top - row + reach, left - column + reach
                part = weights[down : down + window.shape[0], right : right + window.shape[1]]
                total = total + (window * part).sum()
            rows.append(total)
    return torch.stack(rows).reshape(height, width)
