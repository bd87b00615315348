"""Efficient channel attention number by number, in float64 (arXiv 1910.03151, equation 7)."""

from __future__ import annotations

import torch
from torch import Tensor

PAPER_TAPS = {16: 3, 24: 3, 32: 3, 64: 3, 96: 3, 128: 5, 160: 5, 256: 5, 320: 5, 512: 5, 1024: 5}
"""Channels to taps for gamma 2 and b 1, worked out by hand from equation 12."""


def efficient_channel_attention(x: Tensor, *, taps: Tensor) -> Tensor:
    """Gate a map.

    Args:
        x: (N, C, H, W) float64.
        taps: (k), k odd; channels beyond the first and last count as zero.
    """
    images, channels, height, width = x.shape
    reach = len(taps) // 2
    gated = []
    for n in range(images):
        means = []
        for c in range(channels):
            total = torch.zeros((), dtype=torch.float64)
            for row in range(height):
                for column in range(width):
                    total = total + x[n, c, row, column]
            means.append(total / (height * width))
        for c in range(channels):
            value = torch.zeros((), dtype=torch.float64)
            for offset in range(-reach, reach + 1):
                if 0 <= c + offset < channels:
                    value = value + taps[offset + reach] * means[c + offset]
            gated.append(x[n, c] / (1 + torch.exp(-value)))
    return torch.stack(gated).reshape(images, channels, height, width)
