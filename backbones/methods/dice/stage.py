"""The blocks of DiCENet (arXiv 1906.03516), and a stage of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from backbones.methods.dice.inference import FusedStem
from backbones.methods.dice.stage_inference import FusedStage
from backbones.methods.dice.unit import ConvNormPReLU, Dice, Size, shuffle


class Stem(ConvNormPReLU):
    """The first convolution, and the pooling behind it."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(channels, out_channels, kernel=3, stride=2)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, O, H', W'), a quarter as high and as wide."""
        y: Tensor = self.pool(super().forward(x))
        return y

    def fused(self) -> nn.Module:
        """Return a form for inference."""
        return FusedStem(self, self.pool)


class StridedBlock(nn.Module):
    """Halve a map and double its channels: a depthwise branch beside a DiCE unit on the mean.

    Args:
        channels: Of the input.
        size: Height and width of the output.
    """

    def __init__(self, channels: int, *, size: Size) -> None:
        super().__init__()
        self.left = _named(
            depthwise=ConvNormPReLU(channels, channels, kernel=3, stride=2, groups=channels),
            pointwise=ConvNormPReLU(channels, channels, kernel=1),
        )
        self.right = _named(
            pool=nn.AvgPool2d(3, stride=2, padding=1),
            unit=Dice(channels, channels, size=size),
            pointwise=ConvNormPReLU(channels, channels, kernel=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, 2 C, H', W'); H' and W' are rounded up."""
        return shuffle(torch.cat((self.left(x), self.right(x)), 1), groups=2)


class Block(nn.Module):
    """Pass the first half of the channels on, and put the others through a 1x1 and a DiCE unit.

    Args:
        channels: Of the input.
        out_channels: Of the output.
        size: Height and width of the maps.
    """

    def __init__(self, channels: int, out_channels: int, *, size: Size) -> None:
        super().__init__()
        self.passed = round(channels / 2)
        made = out_channels - self.passed
        self.right = _named(
            pointwise=ConvNormPReLU(channels - self.passed, made, kernel=1),
            unit=Dice(made, made, size=size),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, O, H, W)."""
        left, right = x[:, : self.passed], x[:, self.passed :]
        return shuffle(torch.cat((left, self.right(right)), 1), groups=2)


class Stage(nn.Sequential):
    """A block that strides, and others."""

    def __init__(self, strided: StridedBlock, blocks: Iterable[Block]) -> None:
        super().__init__(strided, *blocks)

    def fused(self) -> nn.Module:
        """Return a form for inference (see `FusedStage`), or this one where maps are not square."""
        strided = self[0]
        assert isinstance(strided, StridedBlock)
        unit = strided.right.get_submodule("unit")
        assert isinstance(unit, Dice)
        return FusedStage(self) if unit.size[0] == unit.size[1] else self


def _named(**layers: nn.Module) -> nn.Sequential:
    """Return layers in a row; a number as a name would say that each of them is a block."""
    return nn.Sequential(OrderedDict(layers))
