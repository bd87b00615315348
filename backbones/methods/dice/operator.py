"""DiCE in the place of 3x3 convolutions (arXiv 1906.03516)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from backbones.method import Replacements
from backbones.methods.dice import Settings
from backbones.methods.dice.unit import Dice
from backbones.sites import Site


class DiceConv(nn.Module):
    """A DiCE unit that stands for a convolution with its norm and activation.

    Args:
        site: The convolution.
    """

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.pool = (
            nn.Identity()
            if site.stride == (1, 1)
            else nn.AvgPool2d(site.kernel_size, site.stride, site.padding)
        )
        self.unit = Dice(site.in_channels, site.out_channels, size=site.out_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, O, H', W'); H' and W' are those of the convolution."""
        y: Tensor = self.unit(self.pool(x))
        return y


def plan(sites: Sequence[Site], settings: Settings) -> Replacements:
    """Replace each convolution with its norm and activation.

    Args:
        sites: Dense 3x3 convolutions that a norm follows.
        settings: Of DiCE.
    """
    del settings
    return {site.name: DiceConv(site) for site in sites}
