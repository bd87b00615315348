"""Efficient Channel Attention: y = x * sigmoid(conv1d(mean(x)))  (arXiv 1910.03151)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from backbones.method import Replacements
from backbones.methods.eca import Settings, kernel_size
from backbones.sites import Site


class EfficientChannelAttention(nn.Module):
    """Weigh each channel of a map by the means of its neighbours.

    Args:
        taps: Channels that one weight looks at (k), odd.
    """

    def __init__(self, taps: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, taps, padding=taps // 2, bias=False)

    def reset_parameters(self) -> None:
        """Draw the taps anew: PyTorch's default, as the released code."""
        self.conv.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map.

        Args:
            x: (N, C, H, W).

        Returns:
            (N, C, H, W) in the layout of `x`; each channel scaled by a number in 0..1.
        """
        mean_N1C = x.mean((2, 3))[:, None, :]
        weight_N1C: Tensor = self.conv(mean_N1C).sigmoid()
        return x * weight_N1C[:, 0, :, None, None]


def plan(sites: Sequence[Site], settings: Settings) -> Replacements:
    """Put a gate at each site.

    Args:
        sites: Gates.
        settings: Of ECA.
    """
    return {
        site.name: EfficientChannelAttention(
            kernel_size(site.out_channels, stage=site.stage, settings=settings)
        )
        for site in sites
    }
