"""Depthwise-separable convolution: y = pointwise(act(norm(depthwise(x))))  (arXiv 1704.04861)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from backbones.method import Replacements
from backbones.methods.depthwise_separable import Settings
from backbones.sites import Site


class DepthwiseSeparable(nn.Module):
    """Convolve each channel by itself, then combine the channels at each pixel.

    Args:
        site: The convolution that it stands for.
        settings: Of the depthwise-separable convolution.
    """

    def __init__(self, site: Site, settings: Settings) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            site.in_channels,
            site.in_channels,
            site.kernel_size,
            site.stride,
            site.padding,
            site.dilation,
            groups=site.in_channels,
            bias=False,
        )
        self.norm = nn.Identity() if settings.between == "nothing" else _norm(site.in_channels)
        self.act = nn.ReLU(inplace=True) if settings.between == "norm_act" else nn.Identity()
        self.pointwise = nn.Conv2d(site.in_channels, site.out_channels, 1, bias=site.bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw both kernels anew (He, fan out); norm at identity, the bias as PyTorch does."""
        self.pointwise.reset_parameters()
        if isinstance(self.norm, nn.BatchNorm2d):
            self.norm.reset_parameters()
        for conv, fan_out in (
            (self.depthwise, self.depthwise.weight[0].numel()),
            (self.pointwise, self.pointwise.out_channels),
        ):
            nn.init.normal_(conv.weight, std=(2 / fan_out) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: (N, M, H, W).

        Returns:
            (N, L, H', W') in the layout of `x`.
        """
        y: Tensor = self.pointwise(self.act(self.norm(self.depthwise(x))))
        return y


def _norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels)


def plan(sites: Sequence[Site], settings: Settings) -> Replacements:
    """Replace each convolution.

    Args:
        sites: Dense convolutions above 1x1.
        settings: Of the depthwise-separable convolution.
    """
    return {site.name: DepthwiseSeparable(site, settings) for site in sites}
