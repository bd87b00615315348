"""Split-based convolution number by number, in float64, after section 3 of arXiv 2006.12085."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from backbones.sites import Site
from tests.backbones.slow_convolution import slow_convolution

EPSILON = 1e-5
"""What a normalisation adds to a variance: PyTorch's default."""


def split_convolution(
    x: Tensor,
    weights: Mapping[str, Tensor],
    *,
    site: Site,
    representative: int,
    groups: int = 2,
    soft: bool = True,
    training: bool,
) -> Tensor:
    """Convolve representative and redundant channels, and add up what they give.

    Args:
        x: (N, C, H, W) float64.
        weights: State of the operator in float64: ``group_wise.weight``, and so on.
        site: The convolution that it stands for.
        representative: Channels that are convolved spatially, the first.
        groups: Of that convolution.
        soft: Whether the sum is weighted by a softmax over the means.
        training: Whether norms take the statistics of this batch.
    """
    point = replace(
        site, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, kernel_size=(1, 1)
    )
    spatial = replace(site, groups=groups)
    threes, ones = [], []
    for image in x:
        small = _average(image, site)
        three = slow_convolution(image[:representative], weights["group_wise.weight"], spatial)
        if "point_wise.weight" in weights:
            kernel = weights["point_wise.weight"]
            three = three + slow_convolution(small[:representative], kernel, point)
        one = slow_convolution(small[representative:], weights["redundant_conv.weight"], point)
        threes.append(three)
        ones.append(one + weights["redundant_conv.bias"].reshape(-1, 1, 1))
    u3 = _normalise(torch.stack(threes), weights, "representative_norm", training=training)
    u1 = _normalise(torch.stack(ones), weights, "redundant_norm", training=training)
    if not soft:
        return u3 + u1
    images = [
        torch.stack([_weigh(a, b) for a, b in zip(three, one, strict=True)])
        for three, one in zip(u3, u1, strict=True)
    ]
    return torch.stack(images)


def _weigh(three: Tensor, one: Tensor) -> Tensor:
    """Add up two maps of one channel by the softmax over their means."""
    s3, s1 = three.sum() / three.numel(), one.sum() / one.numel()
    largest = torch.maximum(s3, s1).detach()
    e3, e1 = torch.exp(s3 - largest), torch.exp(s1 - largest)
    return (e3 * three + e1 * one) / (e3 + e1)


def _average(image: Tensor, site: Site) -> Tensor:
    """Average the cells under each window of the stride; at the border there may be fewer."""
    down, right = site.stride
    rows = []
    for top in range(0, image.shape[1], down):
        row = []
        for left in range(0, image.shape[2], right):
            cells = image[:, top : top + down, left : left + right]
            row.append(cells.sum((1, 2)) / cells[0].numel())
        rows.append(torch.stack(row, dim=1))
    return torch.stack(rows, dim=1)


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
