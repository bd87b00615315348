"""ResNets of CIFAR (He et al., CVPR 2016, arXiv 1512.03385, section 4.2).

For images of 32 pixels. Three stages of n basic blocks, 16, 32 and 64 wide, so 6 n + 2 layers.
Shortcuts that change the shape are a 1x1 convolution with its norm (option B of the paper): the
form whose counts later tables print, 272,474 parameters of ResNet-20 for ten classes. He et al.
train option A, which pads with zeros (269,722).
"""

from __future__ import annotations

from torch import Tensor, nn

WIDTHS = (16, 32, 64)


class Block(nn.Module):
    """Two 3x3 convolutions with their norms, and the sum with the input."""

    def __init__(self, channels: int, *, out_channels: int) -> None:
        super().__init__()
        stride = out_channels // channels
        self.conv1 = nn.Conv2d(channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = _shortcut(channels, out_channels) if stride > 1 else None
        self.act2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same size, or of half the size and twice the channels."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.act1(self.bn1(self.conv1(x)))
        out: Tensor = self.act2(self.bn2(self.conv2(x)) + shortcut)
        return out


def _shortcut(channels: int, out_channels: int) -> nn.Module:
    conv = nn.Conv2d(channels, out_channels, 1, stride=2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


class CifarResNet(nn.Module):
    """Images (N, 3, 32, 32) to scores (N, classes).

    Args:
        blocks: Of each of the three stages (n).
        classes: Width of the classifier.
    """

    def __init__(self, blocks: int, *, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.act1 = nn.ReLU(inplace=True)
        before = WIDTHS[0]
        for stage, width in enumerate(WIDTHS, start=1):
            inputs = [before, *[width] * (blocks - 1)]
            made = [Block(channels, out_channels=width) for channels in inputs]
            setattr(self, f"layer{stage}", nn.Sequential(*made))
            before = width
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        x = self.act1(self.bn1(self.conv1(x)))
        for stage in range(1, len(WIDTHS) + 1):
            x = getattr(self, f"layer{stage}")(x)
        scores: Tensor = self.fc(self.global_pool(x).flatten(1))
        return scores


def _create(depth: int, *, classes: int) -> nn.Module:
    """Make a network; convolutions start as in He et al. (ICCV 2015)."""
    network = CifarResNet((depth - 2) // 6, classes=classes)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


def resnet20_cifar(*, classes: int) -> nn.Module:
    """Three blocks in a stage."""
    return _create(20, classes=classes)


def resnet32_cifar(*, classes: int) -> nn.Module:
    """Five blocks in a stage."""
    return _create(32, classes=classes)


def resnet44_cifar(*, classes: int) -> nn.Module:
    """Seven blocks in a stage."""
    return _create(44, classes=classes)


def resnet56_cifar(*, classes: int) -> nn.Module:
    """Nine blocks in a stage."""
    return _create(56, classes=classes)


def resnet110_cifar(*, classes: int) -> nn.Module:
    """Eighteen blocks in a stage."""
    return _create(110, classes=classes)
