"""Squeeze-and-Excitation: y = x * sigmoid(W2 relu(W1 mean(x)))  (arXiv 1709.01507)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from backbones.method import Replacements
from backbones.methods.se import Settings
from backbones.sites import Site


class SqueezeExcitation(nn.Module):
    """Weigh the channels of a map by what the whole map holds.

    Args:
        channels: Channels of the map (C).
        hidden: Channels after the squeeze (C / r).
        bias: Whether the two linear layers have biases.
    """

    def __init__(self, channels: int, *, hidden: int, bias: bool) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, hidden, bias=bias)
        self.excite = nn.Linear(hidden, channels, bias=bias)

    def reset_parameters(self) -> None:
        """Draw both linear layers anew: PyTorch's default, as the released code of ECA's SE."""
        self.squeeze.reset_parameters()
        self.excite.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map.

        Args:
            x: (N, C, H, W).

        Returns:
            (N, C, H, W) in the layout of `x`; each channel scaled by a number in 0..1.
        """
        weight: Tensor = self.excite(self.squeeze(x.mean((2, 3))).relu()).sigmoid()
        return x * weight[:, :, None, None]


def hidden_channels(channels: int, settings: Settings) -> int:
    """Return C / r to the nearest multiple of the divisor, at least one."""
    divisor = settings.divisor
    return max(divisor, int(channels / settings.reduction / divisor + 0.5) * divisor)


def plan(sites: Sequence[Site], settings: Settings) -> Replacements:
    """Put a gate at each site.

    Args:
        sites: Gates.
        settings: Of SE.
    """
    return {
        site.name: SqueezeExcitation(
            site.out_channels,
            hidden=hidden_channels(site.out_channels, settings),
            bias=settings.bias,
        )
        for site in sites
    }
