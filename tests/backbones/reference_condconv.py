"""CondConv image by image in float64 (arXiv 1904.04971, equations 1 to 3)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from backbones.sites import Site
from tests.backbones.slow_convolution import slow_convolution


def routing(pooled: Tensor, state: Mapping[str, Tensor], *, prefix: str) -> Tensor:
    """Weigh the experts of one image from the mean of its map, (C,)."""
    logits = state[f"{prefix}logits.weight"] @ pooled + state[f"{prefix}logits.bias"]
    return 1 / (1 + (-logits).exp())


def condconv(x: Tensor, weights: Tensor, state: Mapping[str, Tensor], *, site: Site) -> Tensor:
    """Convolve (N, C, H, W) with a sum of experts for each image, by (N, E) weights."""
    shape = (site.out_channels, site.in_channels // site.groups, *site.kernel_size)
    maps = []
    for image, row in zip(x, weights, strict=True):
        kernel = torch.zeros(shape, dtype=torch.float64)
        for e, weight in enumerate(row):
            kernel = kernel + weight * state["weight"][e].reshape(shape)
        y = slow_convolution(image, kernel, site)
        maps.append(y + _bias(row, state).reshape(-1, 1, 1))
    return torch.stack(maps)


def condlinear(x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
    """Map (N, C) to (N, O) by a sum of matrices for each image, weighed by a router of its own."""
    rows = []
    for vector in x:
        row = routing(vector, state, prefix="router.")
        pairs = zip(row, state["weight"], strict=True)
        said = [weight * (matrix @ vector) for weight, matrix in pairs]
        rows.append(torch.stack(said).sum(0) + _bias(row, state))
    return torch.stack(rows)


def _bias(row: Tensor, state: Mapping[str, Tensor]) -> Tensor:
    if "bias" not in state:
        return torch.zeros(state["weight"].shape[1], dtype=torch.float64)
    if len(state["bias"]) == 1:
        return state["bias"][0]
    return torch.stack([w * b for w, b in zip(row, state["bias"], strict=True)]).sum(0)
