"""Octave convolution path by path in float64, on a pair of maps (arXiv 1904.05049, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from backbones.sites import Pair, Site
from tests.backbones.reference_gwc_pwc import means_of_windows
from tests.backbones.slow_convolution import slow_convolution

HALF = (2, 2)


def octconv(x: Tensor, state: Mapping[str, Tensor], *, site: Site, low: Pair) -> Tensor:
    """Convolve (N, M, H, W), of which the last channels are taken at half the side.

    Args:
        x: float64.
        state: `weight` and perhaps `bias`, float64.
        site: The convolution that is replaced.
        low: How many channels are low, in and out.
    """
    high_in = site.in_channels - low[0]
    maps = []
    for image in x:
        high, narrow = image[:high_in], means_of_windows(image[high_in:], HALF)
        y_high = _to_high(high, narrow, state, site, low)
        if low[1]:
            y_low = _to_low(high, narrow, state, site, low)
            y_high = torch.cat((y_high, _repeated(y_low, y_high)))
        maps.append(y_high)
    return torch.stack(maps)


def _to_high(
    high: Tensor, narrow: Tensor, state: Mapping[str, Tensor], site: Site, low: Pair
) -> Tensor:
    weight = state["weight"][: site.out_channels - low[1]]
    is_strided = site.stride == HALF
    alone = replace(site, stride=(1, 1))
    if is_strided:
        high = means_of_windows(high, HALF)
    y = slow_convolution(high, weight[:, : len(high)], alone)
    if "bias" in state:
        y = y + state["bias"][: len(y)].reshape(-1, 1, 1)
    if not low[0]:
        return y
    added = slow_convolution(narrow, weight[:, len(high) :], alone)
    return y + (added if is_strided else _repeated(added, y))


def _to_low(
    high: Tensor, narrow: Tensor, state: Mapping[str, Tensor], site: Site, low: Pair
) -> Tensor:
    weight = state["weight"][site.out_channels - low[1] :]
    alone = replace(site, stride=(1, 1))
    if site.stride == HALF:
        high = means_of_windows(high, HALF)
        narrow = means_of_windows(narrow, HALF) if low[0] else narrow
    y = slow_convolution(means_of_windows(high, HALF), weight[:, : len(high)], alone)
    if "bias" in state:
        y = y + state["bias"][site.out_channels - low[1] :].reshape(-1, 1, 1)
    return y + slow_convolution(narrow, weight[:, len(high) :], alone) if low[0] else y


def _repeated(x: Tensor, like: Tensor) -> Tensor:
    rows = [row // 2 for row in range(like.shape[1])]
    columns = [column // 2 for column in range(like.shape[2])]
    return x[:, rows][:, :, columns]
