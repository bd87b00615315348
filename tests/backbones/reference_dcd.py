"""Dynamic channel fusion number by number, in float64, after section 3 of arXiv 2103.08756."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from backbones.sites import Site
from tests.backbones.slow_convolution import slow_convolution

EPSILON = 1e-5
"""What a normalisation adds to a variance: PyTorch's default."""


def layer(
    x: Tensor, weights: Mapping[str, Tensor], *, site: Site, side: int, training: bool
) -> Tensor:
    """Apply the static kernel, scale its outputs, and add what the fused channels give.

    Args:
        x: (N, C, H, W) float64.
        weights: State of the operator in float64: ``static.weight``, and so on.
        site: The layer.
        side: The controller looks at side x side parts of the map.
        training: Whether norms take the statistics of this batch.
    """
    pointwise = replace(site, padding=(0, 0), dilation=(1, 1))
    plain = _convolve(x, weights["static.weight"], site)
    if "static.bias" in weights:
        plain = plain + weights["static.bias"].reshape(1, -1, 1, 1)
    q = _convolve(x, weights["compress.weight"], pointwise)
    q = _normalise(q, weights, "compress_norm", training=training)
    images, fused = q.shape[:2]
    controls = [_control(x[n], weights, side=side) for n in range(images)]
    mixed = []
    for n in range(images):
        phi = controls[n][1].reshape(fused, fused)
        rows = [(phi[row].reshape(-1, 1, 1) * q[n]).sum(0) for row in range(fused)]
        mixed.append(torch.stack(rows))
    fusion = _normalise(torch.stack(mixed), weights, "fuse_norm", training=training) + q
    branch = _convolve(fusion, weights["expand.weight"], replace(pointwise, stride=(1, 1)))
    scaled = torch.stack(
        [
            torch.stack([plain[n, o] * controls[n][0][o] for o in range(plain.shape[1])])
            for n in range(images)
        ]
    )
    return scaled + branch


def _control(image: Tensor, weights: Mapping[str, Tensor], *, side: int) -> tuple[Tensor, Tensor]:
    """Scales of outputs, and the L x L matrix row by row."""
    seen = []
    for channel in image:
        for row in range(side):
            for column in range(side):
                part = channel[
                    _window(row, side, channel.shape[0]), _window(column, side, channel.shape[1])
                ]
                seen.append(part.sum() / part.numel())
    squeezed = _multiply(weights["controller.squeeze.weight"], torch.stack(seen))
    gates = _multiply(weights["controller.gate.weight"], squeezed)
    hidden = squeezed * _twice_hard_sigmoid(gates)
    scales = _multiply(weights["controller.scale.weight"], hidden)
    return _twice_hard_sigmoid(scales), _multiply(weights["controller.phi.weight"], hidden)


def _window(number: int, count: int, length: int) -> slice:
    """Part `number` of `count`, from the floor of its share to the ceiling: parts may overlap."""
    return slice(number * length // count, -(-(number + 1) * length // count))


def _multiply(matrix: Tensor, vector: Tensor) -> Tensor:
    return torch.stack([(row * vector).sum() for row in matrix])


def _twice_hard_sigmoid(x: Tensor) -> Tensor:
    return torch.where(x <= -3, 0 * x, torch.where(x >= 3, 0 * x + 2, (x + 3) / 3))


def _convolve(x: Tensor, kernel: Tensor, site: Site) -> Tensor:
    return torch.stack([slow_convolution(image, kernel, site) for image in x])


def _normalise(x: Tensor, weights: Mapping[str, Tensor], name: str, *, training: bool) -> Tensor:
    channels = []
    for c in range(x.shape[1]):
        values = x[:, c]
        if training and values.numel() > 1:
            mean = values.sum() / values.numel()
            variance = ((values - mean) ** 2).sum() / values.numel()
        else:
            mean = weights[f"{name}.running_mean"][c]
            variance = weights[f"{name}.running_var"][c]
        scaled = (values - mean) / torch.sqrt(variance + EPSILON)
        channels.append(scaled * weights[f"{name}.weight"][c] + weights[f"{name}.bias"][c])
    return torch.stack(channels, dim=1)
