"""HetConv filter by filter in float64, with the channels as arXiv 1903.04120 numbers them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from backbones.sites import Site
from tests.backbones.slow_convolution import slow_convolution


def hetconv(x: Tensor, state: Mapping[str, Tensor], *, site: Site, parts: int) -> Tensor:
    """Convolve (N, M, H, W) with filters that have a full kernel where (m - l) mod P = 0.

    Channels and filters, which the operator orders part by part, are renumbered before and after.
    """
    ins, outs = (paper_order(c, parts) for c in (site.in_channels, site.out_channels))
    height, width = site.kernel_size
    kernel = torch.zeros(site.out_channels, site.in_channels, height, width, dtype=x.dtype)
    for o in range(site.out_channels):
        full = iter(state["own_part.weight"][outs[o]])
        single = iter(state["other_parts.weight"][outs[o]])
        for m in range(site.in_channels):
            if (m - o) % parts == 0:
                kernel[o, m] = next(full)
        for m in sorted(range(site.in_channels), key=lambda m: ins[m]):
            if (m - o) % parts != 0:
                kernel[o, m, height // 2, width // 2] = next(single)
    maps = torch.stack([slow_convolution(image[ins], kernel, site) for image in x])
    if "own_part.bias" in state:
        maps = maps + state["own_part.bias"][outs].reshape(-1, 1, 1)
    return maps[:, [outs.index(o) for o in range(site.out_channels)]]


def paper_order(channels: int, parts: int) -> list[int]:
    """Return, for each channel as the paper numbers it, where the operator has it."""
    return [c % parts * (channels // parts) + c // parts for c in range(channels)]
