"""DY-Conv image by image in float64 (arXiv 1912.03458, equations 2, 3 and 5)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from backbones.sites import Site
from tests.backbones.slow_convolution import slow_convolution


def dyconv(x: Tensor, state: Mapping[str, Tensor], *, site: Site, temperature: float) -> Tensor:
    """Convolve (N, C, H, W) with a mixture of kernels (and biases) for each image."""
    shape = (site.out_channels, site.in_channels // site.groups, *site.kernel_size)
    maps = []
    for image in x:
        weights = _attention(image.mean(dim=(1, 2)), state, temperature)
        kernel = torch.zeros(shape, dtype=torch.float64)
        bias = torch.zeros(site.out_channels, dtype=torch.float64)
        for k, weight in enumerate(weights):
            kernel = kernel + weight * state["weight"][k].reshape(shape)
            if "bias" in state:
                bias = bias + weight * state["bias"][k]
        maps.append(slow_convolution(image, kernel, site) + bias.reshape(-1, 1, 1))
    return torch.stack(maps)


def _attention(pooled: Tensor, state: Mapping[str, Tensor], temperature: float) -> list[Tensor]:
    hidden = (state["attention.reduce.weight"] @ pooled).clamp_min(0)
    logits = state["attention.logits.weight"] @ hidden + state["attention.logits.bias"]
    exponentials = (logits / temperature).exp()
    return [value / exponentials.sum() for value in exponentials]
