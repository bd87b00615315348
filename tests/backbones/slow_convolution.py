"""A convolution as its definition has it, for one image and its kernel."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from backbones.sites import Site


def slow_convolution(image: Tensor, kernel: Tensor, site: Site) -> Tensor:
    """Sum shifted copies of the image, position by position and group by group.

    Args:
        image: (C, H, W).
        kernel: (O, C / groups, k, k).
        site: Stride, padding, dilation and groups.

    Returns:
        (O, H', W').
    """
    outputs, inputs, height, width = kernel.shape
    vertical, horizontal = site.padding
    padded = functional.pad(image, (horizontal, horizontal, vertical, vertical))
    rows = (padded.shape[1] - site.dilation[0] * (height - 1) - 1) // site.stride[0] + 1
    columns = (padded.shape[2] - site.dilation[1] * (width - 1) - 1) // site.stride[1] + 1
    per_group = outputs // site.groups
    maps = []
    for o in range(outputs):
        first = o // per_group * inputs
        total = torch.zeros(rows, columns, dtype=torch.float64)
        for a in range(height):
            for b in range(width):
                top, left = a * site.dilation[0], b * site.dilation[1]
                window = padded[
                    first : first + inputs,
                    top : top + (rows - 1) * site.stride[0] + 1 : site.stride[0],
                    left : left + (columns - 1) * site.stride[1] + 1 : site.stride[1],
                ]
                total = total + (kernel[o, :, a, b, None, None] * window).sum(0)
        maps.append(total)
    return torch.stack(maps)
