"""Group-wise and point-wise convolution, window by window in float64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from backbones.sites import Pair, Site
from tests.backbones.slow_convolution import slow_convolution


def gwc_pwc(x: Tensor, state: Mapping[str, Tensor], *, site: Site, groups: int) -> Tensor:
    """Convolve (N, M, H, W) in groups, and add a dense product of the means of windows."""
    grouped = replace(site, groups=groups)
    maps = []
    for image in x:
        y = slow_convolution(image, state["group_conv.weight"], grouped)
        means = means_of_windows(image, site.stride)
        y = y + torch.einsum("om,mhw->ohw", state["point_conv.weight"][:, :, 0, 0], means)
        if "group_conv.bias" in state:
            y = y + state["group_conv.bias"].reshape(-1, 1, 1)
        maps.append(y)
    return torch.stack(maps)


def means_of_windows(image: Tensor, stride: Pair) -> Tensor:
    """Average in (C, H, W) the pixels of each window of a stride that the map really has."""
    _, height, width = image.shape
    down, right = stride
    rows = [
        torch.stack(
            [
                image[:, top : top + down, left : left + right].flatten(1).mean(1)
                for left in range(0, width, right)
            ],
            dim=1,
        )
        for top in range(0, height, down)
    ]
    return torch.stack(rows, dim=1)
