"""Channel scale: y = a x, with a learned for each channel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from backbones.method import Replacements
from backbones.sites import Site
from convoy_example import Settings  # type: ignore[import-not-found]  # the test installs it


class ChannelScale(nn.Module):
    """Multiply each channel by a learned factor.

    Args:
        channels: Channels of the map (C).
        initial: What every factor begins with.
    """

    def __init__(self, channels: int, *, initial: float) -> None:
        super().__init__()
        self.initial = initial
        self.factor = nn.Parameter(torch.empty(channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set every factor to its beginning."""
        nn.init.constant_(self.factor, self.initial)

    def forward(self, x: Tensor) -> Tensor:
        """Scale a map of shape (N, C, H, W)."""
        return x * self.factor[:, None, None]


def plan(sites: Sequence[Site], settings: Settings) -> Replacements:
    """Put a scale at each gate."""
    return {site.name: ChannelScale(site.out_channels, initial=settings.initial) for site in sites}
