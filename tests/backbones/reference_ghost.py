"""The ghost module pixel by pixel, in float64, after section 3.1 of arXiv 1911.11907."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

EPSILON = 1e-5
"""What the normalisation adds to a variance: PyTorch's default."""

Activation = Callable[[Tensor], Tensor]


def ghost(
    x: Tensor,
    *,
    weights: Mapping[str, Tensor],
    out_channels: int,
    stride: int,
    padding: int,
    groups: int,
    training: bool,
    activate: Activation,
) -> Tensor:
    """Convolve, normalise and activate, then make the other channels from the result.

    Args:
        x: (N, M, H, W) float64.
        weights: State of the operator in float64: `primary_conv.weight`, and so on.
        out_channels: Channels wanted (L).
        stride: Of the dense convolution.
        padding: Of the dense convolution.
        groups: Of the dense convolution.
        training: Whether norms take the statistics of this batch.
        activate: What follows each norm.
    """
    dense = _convolve(
        x, weights["primary_conv.weight"], stride=stride, padding=padding, groups=groups
    )
    dense = activate(_normalise(dense, weights, "primary_norm", training=training))
    kernel = weights["cheap_conv.weight"]
    cheap = _convolve(dense, kernel, stride=1, padding=kernel.shape[-1] // 2, groups=dense.shape[1])
    cheap = activate(_normalise(cheap, weights, "cheap_norm", training=training))
    channels = [dense[:, c] for c in range(dense.shape[1])]
    channels += [cheap[:, c] for c in range(cheap.shape[1])]
    return torch.stack(channels[:out_channels], dim=1)


def _convolve(x: Tensor, kernel: Tensor, *, stride: int, padding: int, groups: int) -> Tensor:
    images, channels, height, width = x.shape
    out_channels, in_each, side, _ = kernel.shape
    padded = torch.zeros(images, channels, height + 2 * padding, width + 2 * padding, dtype=x.dtype)
    padded[:, :, padding : padding + height, padding : padding + width] = x
    rows = (height + 2 * padding - side) // stride + 1
    columns = (width + 2 * padding - side) // stride + 1
    pixels = []
    for n in range(images):
        for o in range(out_channels):
            first = o // (out_channels // groups) * in_each
            for row in range(0, rows * stride, stride):
                for column in range(0, columns * stride, stride):
                    window = padded[
                        n, first : first + in_each, row : row + side, column : column + side
                    ]
                    pixels.append((window * kernel[o]).sum())
    return torch.stack(pixels).reshape(images, out_channels, rows, columns)


def _normalise(x: Tensor, weights: Mapping[str, Tensor], name: str, *, training: bool) -> Tensor:
    channels = []
    for c in range(x.shape[1]):
        values = x[:, c]
        if training:
            mean = values.sum() / values.numel()
            variance = ((values - mean) ** 2).sum() / values.numel()
        else:
            mean = weights[f"{name}.running_mean"][c]
            variance = weights[f"{name}.running_var"][c]
        scaled = (values - mean) / torch.sqrt(variance + EPSILON)
        channels.append(scaled * weights[f"{name}.weight"][c] + weights[f"{name}.bias"][c])
    return torch.stack(channels, dim=1)
