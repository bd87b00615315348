"""Octave convolution: four paths between high and low channels (arXiv 1904.05049, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.fusion.affine import scaled, shifted
from backbones.method import Replacements
from backbones.methods.octconv import Settings, low_channels
from backbones.sites import Pair, Site


class OctConv(nn.Module):
    """Convolve the last channels, in and out, at half the side.

    Args:
        site: The convolution that it stands for.
        low: How many channels are low in frequency, in and out.

    Attributes:
        weight: (L, M, k, k), that of the plain convolution: high channels first.
        bias: (L) or None.
    """

    def __init__(self, site: Site, low: Pair) -> None:
        super().__init__()
        self.high_in, self.high_out = site.in_channels - low[0], site.out_channels - low[1]
        self.has_low_in, self.has_low_out = low[0] > 0, low[1] > 0
        self.is_strided = site.stride == (2, 2)
        self.padding, self.dilation = site.padding, site.dilation
        self.weight = nn.Parameter(
            torch.empty(site.out_channels, site.in_channels, *site.kernel_size)
        )
        self.bias = nn.Parameter(torch.empty(site.out_channels)) if site.bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the kernel anew (He, fan out); biases begin at zero."""
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: (N, M, H, W); low channels last, at the full side.

        Returns:
            (N, L, H', W'); low channels last, each value in a square of four.
        """
        high, low = x[:, : self.high_in], None
        if self.has_low_in:
            low = _halved(x[:, self.high_in :])
        if self.is_strided:
            high = _halved(high)
        y_high = self._to_high(high, low)
        if not self.has_low_out:
            return y_high
        height, width = y_high.shape[-2:]
        return torch.cat((y_high, _doubled(self._to_low(high, low), height, width)), dim=1)

    def absorb(self, scale: Tensor, shift: Tensor) -> None:
        """Take up a norm that follows (see `fusion.Absorbs`)."""
        self.bias = shifted(self.bias, (scale, shift), like=self.weight)
        self.weight = scaled(self.weight, scale)

    def _to_high(self, high: Tensor, low: Tensor | None) -> Tensor:
        rows = slice(0, self.high_out)
        y = self._convolved(high, rows, slice(0, self.high_in))
        if low is None:
            return y
        from_low = self._convolved(low, rows, slice(self.high_in, None))
        if not self.is_strided:
            from_low = _doubled(from_low, y.shape[2], y.shape[3])
        return y + from_low

    def _to_low(self, high: Tensor, low: Tensor | None) -> Tensor:
        rows = slice(self.high_out, None)
        y = self._convolved(_halved(high), rows, slice(0, self.high_in))
        if low is None:
            return y
        low = _halved(low) if self.is_strided else low
        return y + self._convolved(low, rows, slice(self.high_in, None))

    def _convolved(self, x: Tensor, rows: slice, columns: slice) -> Tensor:
        """Convolve with a part of the weight; the bias comes with what high channels give."""
        bias = self.bias[rows] if self.bias is not None and columns.start == 0 else None
        weight = self.weight[rows, columns]
        return functional.conv2d(x, weight, bias, padding=self.padding, dilation=self.dilation)


def _halved(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)


def _doubled(x: Tensor, height: int, width: int) -> Tensor:
    """Repeat each pixel in a square, and cut what an odd side does not have."""
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")[:, :, :height, :width]


def plan(sites: Sequence[Site], settings: Settings) -> Replacements:
    """Replace each convolution.

    Args:
        sites: Dense convolutions that have low channels.
        settings: Of OctConv.
    """
    low = low_channels(sites, settings)
    return {site.name: OctConv(site, low[site.name]) for site in sites}
