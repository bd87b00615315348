"""Depthwise-separable convolution, channel by channel in float64, after arXiv 1704.04861."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from backbones.sites import Site
from tests.backbones.slow_convolution import slow_convolution

EPSILON = 1e-5
"""What the normalisation adds to a variance: PyTorch's default."""


def depthwise_separable(
    x: Tensor, state: Mapping[str, Tensor], *, site: Site, between: str, training: bool
) -> Tensor:
    """Convolve (N, M, H, W) channel by channel, normalise and cut, then combine channels.

    Args:
        x: float64.
        state: Of the operator, float64, by name.
        site: The convolution that is replaced.
        between: ``norm_act``, ``norm`` or ``nothing``.
        training: Whether the norm takes the statistics of this batch.
    """
    alone = replace(site, in_channels=1, out_channels=1)
    kernels = state["depthwise.weight"]
    channels = []
    for c in range(site.in_channels):
        images = [slow_convolution(image[c : c + 1], kernels[c : c + 1], alone)[0] for image in x]
        y = torch.stack(images)
        if between != "nothing":
            y = _normalised(y, c, state, training=training)
        if between == "norm_act":
            y = torch.where(y > 0, y, 0 * y)
        channels.append(y)
    filters = []
    for o in range(site.out_channels):
        weights = state["pointwise.weight"][o, :, 0, 0]
        total = torch.stack([w * y for w, y in zip(weights, channels, strict=True)]).sum(0)
        filters.append(total + state["pointwise.bias"][o] if "pointwise.bias" in state else total)
    return torch.stack(filters, dim=1)


def _normalised(y: Tensor, c: int, state: Mapping[str, Tensor], *, training: bool) -> Tensor:
    if training:
        mean = y.sum() / y.numel()
        variance = ((y - mean) ** 2).sum() / y.numel()
    else:
        mean, variance = state["norm.running_mean"][c], state["norm.running_var"][c]
    y = (y - mean) / torch.sqrt(variance + EPSILON)
    return y * state["norm.weight"][c] + state["norm.bias"][c]
