"""ODConv image by image in float64 (arXiv 2209.07947, equations 2 and 3).

Nothing here knows the operator: each kernel is weighed along its four dimensions, then all are
summed and applied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from backbones.sites import Site
from tests.backbones.slow_convolution import slow_convolution


@dataclass(frozen=True)
class Layer:
    """One layer, as a reader of the paper would describe it.

    Attributes:
        site: The convolution.
        kernels: Number of kernels.
        temperature: Of all attentions.
        training: Whether the normalisation looks at the batch.
    """

    site: Site
    kernels: int
    temperature: float = 1.0
    training: bool = True


def odconv(x: Tensor, state: Mapping[str, Tensor], layer: Layer) -> Tensor:
    """Convolve (N, C, H, W) with a kernel for each image."""
    squeezed = _squeeze(x, state, layer)
    maps = []
    for image, row in zip(x, squeezed, strict=True):
        kernel = _kernel(row, state, layer)
        y = slow_convolution(image, kernel, layer.site)
        if "bias" in state:
            y = y + state["bias"].reshape(-1, 1, 1)
        maps.append(y)
    return torch.stack(maps)


def _squeeze(x: Tensor, state: Mapping[str, Tensor], layer: Layer) -> Tensor:
    hidden = x.mean(dim=(2, 3)) @ state["attention.reduce.weight"].T
    if layer.training and len(x) > 1:
        mean, variance = hidden.mean(0), hidden.var(0, unbiased=False)
    else:
        mean = state["attention.norm.running_mean"]
        variance = state["attention.norm.running_var"]
    scaled = (hidden - mean) / (variance + 1e-5).sqrt() * state["attention.norm.weight"]
    return (scaled + state["attention.norm.bias"]).clamp_min(0)


def _kernel(row: Tensor, state: Mapping[str, Tensor], layer: Layer) -> Tensor:
    site = layer.site
    outputs, inputs = site.out_channels, site.in_channels // site.groups
    height, width = site.kernel_size

    def logits(name: str) -> Tensor | None:
        if f"attention.{name}.weight" not in state:
            return None
        linear = state[f"attention.{name}.weight"] @ row + state[f"attention.{name}.bias"]
        return linear / layer.temperature

    channel, filters, spatial, kernels = map(logits, ("channel", "filter", "spatial", "kernel"))
    total = torch.zeros(outputs, inputs, height, width, dtype=torch.float64)
    bank = state["weight"].reshape(layer.kernels, outputs, inputs, height, width)
    for k in range(layer.kernels):
        weighed = bank[k]
        if kernels is not None:
            weighed = weighed * (kernels.exp()[k] / kernels.exp().sum())
        if spatial is not None:
            weighed = weighed * _sigmoid(spatial).reshape(height, width)
        if filters is not None:
            weighed = weighed * _sigmoid(filters).reshape(-1, 1, 1, 1)
        if channel is not None:
            weighed = weighed * _of_inputs(_sigmoid(channel), site)
        total = total + weighed
    return total


def _of_inputs(channel: Tensor, site: Site) -> Tensor:
    """The weight of the input channel that each place of the kernel meets."""
    inputs, per_group = site.in_channels // site.groups, site.out_channels // site.groups
    rows = [channel[o // per_group * inputs :][:inputs] for o in range(site.out_channels)]
    return torch.stack(rows).reshape(site.out_channels, inputs, 1, 1)


def _sigmoid(z: Tensor) -> Tensor:
    return 1 / (1 + (-z).exp())
