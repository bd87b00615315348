"""ResNet-20 of CIFAR (He et al., CVPR 2016, arXiv 1512.03385, section 4.2).

For images of 32 pixels. Three stages of three basic blocks, 16, 32 and 64 wide. Shortcuts that
change the shape are a 1x1 convolution with its norm (option B of the paper): the form whose counts
later tables print, 272,474 parameters for ten classes.
"""

from __future__ import annotations

from torch import Tensor, nn

WIDTHS = (16, 32, 64)
BLOCKS = 3


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


class ResNet20(nn.Module):
    """Images (N, 3, 32, 32) to scores (N, classes)."""

    def __init__(self, *, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.act1 = nn.ReLU(inplace=True)
        before = WIDTHS[0]
        for stage, width in enumerate(WIDTHS, start=1):
            inputs = [before, *[width] * (BLOCKS - 1)]
            blocks = [Block(channels, out_channels=width) for channels in inputs]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
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


def create(*, classes: int) -> nn.Module:
    """Make the network; convolutions start as in He et al. (ICCV 2015)."""
    network = ResNet20(classes=classes)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network
