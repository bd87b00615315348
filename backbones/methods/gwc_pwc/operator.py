"""Group-wise and point-wise convolution: y = GWC(x) + PWC(pool(x))  (in arXiv 2006.12085)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from backbones.fusion.conv import FoldedConv2d, FoldedSum
from backbones.initialisation import draw_as_one
from backbones.method import Replacements
from backbones.methods.gwc_pwc import Settings
from backbones.sites import Site


class GroupPointwise(nn.Module):
    """Convolve in groups, and add a dense product of each pixel, or of the mean of a window.

    Args:
        site: The convolution that it stands for; g divides its channels.
        settings: Of GWC + PWC.
    """

    def __init__(self, site: Site, settings: Settings) -> None:
        super().__init__()
        self.group_conv = nn.Conv2d(
            site.in_channels,
            site.out_channels,
            site.kernel_size,
            site.stride,
            site.padding,
            site.dilation,
            settings.groups,
            bias=site.bias,
        )
        # whole and cut windows together are as many as the outputs of the padded convolution
        self.pool = (
            nn.AvgPool2d(site.stride, ceil_mode=True, count_include_pad=False)
            if max(site.stride) > 1
            else nn.Identity()
        )
        self.point_conv = nn.Conv2d(site.in_channels, site.out_channels, 1, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw both kernels anew with one deviation (He, fan out); the bias as PyTorch does."""
        self.group_conv.reset_parameters()
        weights = (self.group_conv.weight, self.point_conv.weight)
        draw_as_one(weights, in_channels=self.group_conv.in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: (N, M, H, W).

        Returns:
            (N, L, H', W') in the layout of `x`.
        """
        y: Tensor = self.group_conv(x) + self.point_conv(self.pool(x))
        return y

    def fused(self) -> FoldedSum:
        """Return the same for inference (see `fusion.Fuses`)."""
        return FoldedSum(
            (nn.Identity(), FoldedConv2d(self.group_conv)),
            (self.pool, FoldedConv2d(self.point_conv)),
        )


def plan(sites: Sequence[Site], settings: Settings) -> Replacements:
    """Replace each convolution.

    Args:
        sites: Dense convolutions whose channels g divides.
        settings: Of GWC + PWC.
    """
    return {site.name: GroupPointwise(site, settings) for site in sites}
