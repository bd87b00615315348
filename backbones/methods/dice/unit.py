"""The DiCE unit (arXiv 1906.03516, sections 3.1 and 3.2), and what stands in its networks.

Shape suffixes: N images, C input channels, O output channels, H rows, W columns.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.methods.dice.inference import FusedDice

Size = tuple[int, int]

DIMENSIONS = 3
_SQUEEZE = 4


class Dice(nn.Module):
    """Convolve along channels, rows and columns, and fuse the three.

    Args:
        channels: Of the input, four at least.
        out_channels: Of the output.
        size: Height and width of the maps for which it is built: the numbers of kernels for rows
            and for columns.
    """

    def __init__(self, channels: int, out_channels: int, *, size: Size) -> None:
        super().__init__()
        height, width = size
        self.size = size
        self.depth_conv = _one_each(channels)
        self.height_conv = _one_each(height)
        self.width_conv = _one_each(width)
        self.branch_norm = nn.BatchNorm2d(DIMENSIONS * channels)
        self.branch_act = nn.PReLU(DIMENSIONS * channels)
        self.local = ConvNormPReLU(DIMENSIONS * channels, channels, kernel=1, groups=channels)
        self.squeeze = nn.Conv2d(channels, channels // _SQUEEZE, 1, bias=False)
        self.excite = nn.Conv2d(channels // _SQUEEZE, out_channels, 1, bias=False)
        self.project = ConvNormPReLU(
            channels, out_channels, kernel=3, groups=math.gcd(channels, out_channels)
        )
        draw(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, O, H, W); any height and width."""
        y = torch.cat((self.depth_conv(x), self._convolve_rows(x), self._convolve_columns(x)), 1)
        z = self.local(shuffle(self.branch_act(self.branch_norm(y)), groups=DIMENSIONS))
        mean = functional.adaptive_avg_pool2d(z, 1)
        gate = torch.sigmoid(self.excite(functional.relu(self.squeeze(mean))))
        out: Tensor = self.project(z) * gate
        return out

    def fused(self) -> nn.Module:
        """Return a form for inference, or this one where it is not built for square maps."""
        return FusedDice(self) if self.size[0] == self.size[1] else self

    def _convolve_rows(self, x: Tensor) -> Tensor:
        resized = resize(x, (self.size[0], x.shape[3]))
        y: Tensor = self.height_conv(resized.transpose(1, 2))
        return resize(y.transpose(1, 2), (x.shape[2], x.shape[3]))

    def _convolve_columns(self, x: Tensor) -> Tensor:
        resized = resize(x, (x.shape[2], self.size[1]))
        y: Tensor = self.width_conv(resized.transpose(1, 3))
        return resize(y.transpose(1, 3), (x.shape[2], x.shape[3]))


class ConvNormPReLU(nn.Module):
    """A convolution that keeps the place of pixels, a norm, and a PReLU for each channel."""

    def __init__(
        self, channels: int, out_channels: int, *, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels)
        self.act = nn.PReLU(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, O, H', W')."""
        y: Tensor = self.act(self.norm(self.conv(x)))
        return y


def shuffle(x: Tensor, *, groups: int) -> Tensor:
    """Deal channels out: first those of the groups' first place, then of the second, and so on."""
    return x.view(x.shape[0], groups, -1, *x.shape[2:]).transpose(1, 2).flatten(1, 2)


def resize(x: Tensor, size: Size) -> Tensor:
    """Make maps of another size: bilinear (corners aligned) to a larger, means to a smaller."""
    if x.shape[2:] == size:
        return x
    if x.shape[2] < size[0] or x.shape[3] < size[1]:
        return functional.interpolate(x, size, mode="bilinear", align_corners=True)
    return functional.adaptive_avg_pool2d(x, size)


def draw(module: nn.Module) -> None:
    """Draw the layers inside anew (He, fan out); biases are zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _one_each(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
