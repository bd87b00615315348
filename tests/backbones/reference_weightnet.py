"""WeightNet number by number, in float64, after section 3.2 of arXiv 2007.11823."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from backbones.sites import Site
from tests.backbones.slow_convolution import slow_convolution


def weightnet(x: Tensor, reduced: Tensor, weights: Mapping[str, Tensor], *, site: Site) -> Tensor:
    """Make filters for each image and convolve the image with them.

    Args:
        x: (N, C, H, W) float64.
        reduced: (N, width), what the block says.
        weights: State of the operator in float64: ``weight``, ``gains.weight``, ``gains.bias``.
        site: The convolution.
    """
    images = []
    for n in range(x.shape[0]):
        logits = [
            (row * reduced[n]).sum() + bias
            for row, bias in zip(weights["gains.weight"], weights["gains.bias"], strict=True)
        ]
        hidden = [1 / (1 + torch.exp(-logit)) for logit in logits]
        images.append(slow_convolution(x[n], _kernel(hidden, weights["weight"], site), site))
    y = torch.stack(images)
    return y + weights["bias"].reshape(1, -1, 1, 1) if "bias" in weights else y


def _kernel(hidden: list[Tensor], weight: Tensor, site: Site) -> Tensor:
    """A grouped linear layer: each group sees its own hidden numbers and gives the next numbers."""
    outputs, groups, numbers, rank = weight.shape
    given = []
    for group in range(outputs * groups):
        own = torch.stack(hidden[group * rank : (group + 1) * rank])
        rows = weight.reshape(outputs * groups, numbers, rank)[group]
        given += [(row * own).sum() for row in rows]
    return torch.stack(given).reshape(outputs, -1, *site.kernel_size)


def reduction(x: Tensor, *, weight: Tensor, bias: Tensor) -> Tensor:
    """Reduce the means of the last channels of a block's input.

    Args:
        x: (N, C, H, W) float64.
        weight: (width, channels that are seen).
        bias: (width).
    """
    seen = weight.shape[1]
    images = []
    for image in x:
        means = torch.stack([channel.sum() / channel.numel() for channel in image])[-seen:]
        images.append(torch.stack([(row * means).sum() for row in weight]) + bias)
    return torch.stack(images)
