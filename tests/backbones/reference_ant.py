"""ANTBlock pixel by pixel, in float64 (arXiv 1904.03775, with MobileNetV2's norms)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from backbones.sites import Site
from tests.backbones.reference_se import squeeze_excitation
from tests.backbones.slow_convolution import slow_convolution
from tests.backbones.small_sites import site

EPSILON = 1e-5
"""What the normalisation adds to a variance: PyTorch's default."""


def ant_block(
    x: Tensor, weights: Mapping[str, Tensor], *, place: Site, groups: int, training: bool
) -> Tensor:
    """Widen, convolve each channel, weigh the channels, project, and add the input.

    Args:
        x: (N, C, H, W) float64.
        weights: State of the block in float64: `expand.0.weight`, and so on.
        place: Kernel size, stride and dilation of the block.
        groups: Of the projection.
        training: Whether norms take the statistics of this batch.
    """
    wide = x
    if "expand.0.weight" in weights:
        wide = _layer(x, weights, ("expand.0", "expand.1"), site((1, 1), kernel=1), training)
        wide = _relu6(wide)
    dilated = tuple(
        taps // 2 * apart for taps, apart in zip(place.kernel_size, place.dilation, strict=True)
    )
    depthwise = replace(place, groups=wide.shape[1], padding=(dilated[0], dilated[1]))
    wide = _relu6(_layer(wide, weights, ("depthwise.0", "depthwise.1"), depthwise, training))
    wide = squeeze_excitation(
        wide, w1=weights["attn.squeeze.weight"], w2=weights["attn.excite.weight"], b1=None, b2=None
    )
    projection = replace(site((1, 1), kernel=1), groups=groups)
    y = _layer(wide, weights, ("project", "project_norm"), projection, training)
    return x + y if y.shape == x.shape and place.stride == (1, 1) else y


def _relu6(x: Tensor) -> Tensor:
    return torch.where(x > 6, 0 * x + 6, torch.where(x > 0, x, 0 * x))


def _layer(
    x: Tensor,
    weights: Mapping[str, Tensor],
    names: tuple[str, str],
    place: Site,
    training: bool,
) -> Tensor:
    conv, norm = names
    kernel = weights[f"{conv}.weight"]
    maps = torch.stack([slow_convolution(image, kernel, place) for image in x])
    channels = []
    for c in range(maps.shape[1]):
        values = maps[:, c]
        if training:
            mean = values.sum() / values.numel()
            variance = ((values - mean) ** 2).sum() / values.numel()
        else:
            mean = weights[f"{norm}.running_mean"][c]
            variance = weights[f"{norm}.running_var"][c]
        scaled = (values - mean) / torch.sqrt(variance + EPSILON)
        channels.append(scaled * weights[f"{norm}.weight"][c] + weights[f"{norm}.bias"][c])
    return torch.stack(channels, dim=1)
