"""Efficient Channel Attention: y = x * sigmoid(conv1d(mean(x)))  (arXiv 1910.03151)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.gate import ChannelGate, InPlaceGate, ProductGate
from backbones.method import Replacements
from backbones.methods.eca import Settings, kernel_size
from backbones.sites import Site

_LARGEST_BAND = 512
"""Channels up to which the band matrix is read from a cache."""


class EfficientChannelAttention(ChannelGate):
    """Weigh each channel of a map by the means of its neighbours.

    Args:
        channels: Channels of the map (C).
        taps: Channels that one weight looks at (k), odd.
    """

    def __init__(self, channels: int, taps: int) -> None:
        super().__init__()
        self.channels = channels
        self.conv = nn.Conv1d(1, 1, taps, padding=taps // 2, bias=False)

    def reset_parameters(self) -> None:
        """Draw the taps anew: PyTorch's default, as the released code."""
        self.conv.reset_parameters()

    def logits(self, mean_NC: Tensor) -> Tensor:
        """Convolve the means along the channels (equation 9)."""
        logits_N1C: Tensor = self.conv(mean_NC[:, None, :])
        return logits_N1C[:, 0]

    def fused(self) -> nn.Module:
        """Return the gate for inference, as one product where that is the smaller work."""
        return _as_product(self, self.channels)


class UnsharedChannelAttention(ChannelGate):
    """Weigh each channel of a map by the means of its neighbours with taps of its own (ECA-NS).

    Args:
        channels: Channels of the map (C).
        taps: Channels that one weight looks at (k), odd.
    """

    def __init__(self, channels: int, taps: int) -> None:
        super().__init__()
        self.reach = taps // 2
        self.conv = nn.Conv1d(channels, channels, taps, groups=channels, bias=False)

    def reset_parameters(self) -> None:
        """Draw the taps anew: PyTorch's default, as the released code."""
        self.conv.reset_parameters()

    def logits(self, mean_NC: Tensor) -> Tensor:
        """Weigh the k means around each channel (equation 7)."""
        padded = functional.pad(mean_NC, (self.reach, self.reach))
        logits_NC1: Tensor = self.conv(padded.unfold(1, 2 * self.reach + 1, 1))
        return logits_NC1[:, :, 0]

    def fused(self) -> nn.Module:
        """Return the gate for inference, as one product where that is the smaller work."""
        return _as_product(self, self.conv.out_channels)


def _as_product(attention: ChannelGate, channels: int) -> nn.Module:
    """Return the same with the band matrix of the paper's equation 6, unless that is large.

    Zeros included it is multiplied faster than so short a convolution is set up.
    """
    if channels > _LARGEST_BAND:
        return InPlaceGate(attention)
    weight = next(attention.parameters())
    with torch.no_grad():
        band = attention.logits(torch.eye(channels, dtype=weight.dtype, device=weight.device))
    return ProductGate((band, None))


def gate(site: Site, settings: Settings) -> ChannelGate:
    """Return the gate of a site."""
    taps = kernel_size(site.out_channels, stage=site.stage, settings=settings)
    if settings.shared:
        return EfficientChannelAttention(site.out_channels, taps)
    return UnsharedChannelAttention(site.out_channels, taps)


def plan(sites: Sequence[Site], settings: Settings) -> Replacements:
    """Put a gate at each site.

    Args:
        sites: Gates.
        settings: Of ECA.
    """
    return {site.name: gate(site, settings) for site in sites}
