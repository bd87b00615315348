"""ANTNet (Xiong et al., 2019, arXiv 1904.03775): MobileNetV2 of ANTBlocks.

The authors released no code; this table is a third party's, and what it leaves open is as in
MobileNetV2 (see `backbones.methods.ant`). Widths are rounded to multiples of 8, the last one grows
with the multiplier only. The counts are 3,820,584 parameters and 301.09 M multiply-adds where the
paper prints 3.7 M and 322 M (g=2: 3,338,984 and 242.03 M for 3.2 M and 267 M; 1.4: 6,729,704 and
582.82 M for 6.8 M and 598 M): its counter or some reduction differs, which is not resolved.

How the paper cuts its network down for CIFAR-100 is not known. The forms that end in ``_cifar``
leave out the first two strides, so that images of 32 pixels end in maps of 4.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from backbones.methods.ant.operator import AntBlock

_FIRST = 32
_LAST = 1280


@dataclass(frozen=True)
class Stage:
    """A row of the table.

    Attributes:
        expansion: Channels between over channels in (t).
        channels: Channels out, for a multiplier of 1 (c).
        blocks: How many (n).
        stride: Of the first block (s).
        reduction: Of the attention (r).
    """

    expansion: int
    channels: int
    blocks: int
    stride: int
    reduction: int


STAGES = (
    Stage(1, 16, 1, 1, 8),
    Stage(6, 24, 2, 2, 8),
    Stage(6, 32, 3, 2, 12),
    Stage(6, 64, 4, 2, 16),
    Stage(6, 96, 3, 1, 24),
    Stage(6, 160, 3, 2, 32),
    Stage(6, 320, 1, 1, 64),
)


class AntNet(nn.Module):
    """Images (N, 3, H, W) to scores (N, classes).

    Args:
        multiplier: Of the widths (alpha).
        groups: Of all projections (g).
        strides: Of the first convolution and of the second stage.
        classes: Width of the classifier.
    """

    def __init__(
        self, *, multiplier: float, groups: int, strides: tuple[int, int], classes: int
    ) -> None:
        super().__init__()
        channels = _rounded(_FIRST * multiplier)
        self.conv_stem = nn.Conv2d(3, channels, 3, strides[0], padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act1 = nn.ReLU6(inplace=True)
        self.blocks = nn.Sequential()
        for number, stage in enumerate(STAGES):
            width = _rounded(stage.channels * multiplier)
            stride = strides[1] if number == 1 else stage.stride
            inputs = [(channels, stride), *[(width, 1)] * (stage.blocks - 1)]
            self.blocks.append(
                nn.Sequential(
                    *(_block(stage, c, out=width, stride=s, groups=groups) for c, s in inputs)
                )
            )
            channels = width
        last = _rounded(_LAST * max(1.0, multiplier))
        self.conv_head = nn.Conv2d(channels, last, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(last)
        self.act2 = nn.ReLU6(inplace=True)
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        x = self.blocks(self.act1(self.bn1(self.conv_stem(x))))
        x = self.global_pool(self.act2(self.bn2(self.conv_head(x))))
        scores: Tensor = self.classifier(x.flatten(1))
        return scores


def _rounded(channels: float) -> int:
    """Return the nearest multiple of 8, but none that is more than a tenth too small."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 * (nearest < 0.9 * channels)


def _block(stage: Stage, channels: int, *, out: int, stride: int, groups: int) -> AntBlock:
    width = stage.expansion * channels
    return AntBlock(
        (channels, out),
        width=width,
        hidden=width // stage.reduction,
        stride=(stride, stride),
        groups=groups,
    )


def _create(
    multiplier: float, *, groups: int = 1, strides: tuple[int, int] = (2, 2), classes: int
) -> nn.Module:
    """Make a network; convolutions start as in He et al. (ICCV 2015), the classifier small."""
    network = AntNet(multiplier=multiplier, groups=groups, strides=strides, classes=classes)
    for conv in (network.conv_stem, network.conv_head):
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    nn.init.normal_(network.classifier.weight, std=0.01)
    nn.init.zeros_(network.classifier.bias)
    return network


def antnet_1_0(*, classes: int) -> nn.Module:
    """Multiplier 1, one group."""
    return _create(1.0, classes=classes)


def antnet_1_0_g2(*, classes: int) -> nn.Module:
    """Multiplier 1, two groups in every projection."""
    return _create(1.0, groups=2, classes=classes)


def antnet_1_4(*, classes: int) -> nn.Module:
    """Multiplier 1.4, one group."""
    return _create(1.4, classes=classes)


def antnet_1_4_g2(*, classes: int) -> nn.Module:
    """Multiplier 1.4, two groups in every projection."""
    return _create(1.4, groups=2, classes=classes)


def antnet_1_0_cifar(*, classes: int) -> nn.Module:
    """Multiplier 1, one group, for images of 32 pixels."""
    return _create(1.0, strides=(1, 1), classes=classes)


def antnet_1_0_g2_cifar(*, classes: int) -> nn.Module:
    """Multiplier 1, two groups in every projection, for images of 32 pixels."""
    return _create(1.0, groups=2, strides=(1, 1), classes=classes)
