"""Efficient channel attention number by number, in float64 (arXiv 1910.03151, equations 7, 8)."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.backbones.reference_gate import means, scaled

PAPER_TAPS = {16: 3, 24: 3, 32: 3, 64: 3, 96: 3, 128: 5, 160: 5, 256: 5, 320: 5, 512: 5, 1024: 5}
"""Channels to taps for gamma 2 and b 1, worked out by hand from equation 12."""


def efficient_channel_attention(x: Tensor, *, taps: Tensor) -> Tensor:
    """Gate a map.

    Args:
        x: (N, C, H, W) float64.
        taps: (k) for all channels, or (C, k) for each its own, k odd; channels beyond the first
            and last count as zero.
    """
    channels, size = x.shape[1], taps.shape[-1]
    own = taps.expand(channels, size)
    logits = []
    for image in x:
        mean = means(image)
        row = []
        for c in range(channels):
            value = torch.zeros((), dtype=torch.float64)
            for tap in range(size):
                neighbour = c + tap - size // 2
                if 0 <= neighbour < channels:
                    value = value + own[c, tap] * mean[neighbour]
            row.append(value)
        logits.append(row)
    return scaled(x, logits)
