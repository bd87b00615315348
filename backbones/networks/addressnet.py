"""AddressNet of CIFAR (He et al., WACV 2019, arXiv 1809.08458): AddressNet-20 and -44.

Published are the three primitives (address, channel and shortcut shift), that all else is
point-wise group convolution, and for each depth a number of parameters, of multiply-adds and an
accuracy. The rest is *our reading*: the plan of CIFAR's ResNets (a 3x3 stem, three stages of n
blocks, 16, 32 and 64 wide, so 6 n + 2 layers), two groups and an expansion of 6, which fit the
printed parameters. ``_add`` has sums in the place of the shortcut shift.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from backbones.shift.block import AddressBlock
from backbones.shift.shape import Place, Variant, shapes

IMAGE_SIZE = 32
WIDTHS = (16, 32, 64)


class AddressNet(nn.Module):
    """Images (N, 3, 32, 32) to scores (N, classes).

    Args:
        blocks: Of each of the three stages (n).
        variant: Of the blocks.
        classes: Width of the classifier.
    """

    def __init__(self, blocks: int, *, variant: Variant, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.act1 = nn.ReLU(inplace=True)
        for stage, (before, width) in enumerate(pairwise((WIDTHS[0], *WIDTHS)), start=1):
            step = 1 if stage == 1 else 2
            places = [Place(before, width, (step, step)), *[Place(width, width)] * (blocks - 1)]
            made = [AddressBlock(shape) for shape in shapes(places, variant)]
            setattr(self, f"layer{stage}", nn.Sequential(*made))
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(WIDTHS[-1], classes)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        x = self.act1(self.bn1(self.conv1(x)))
        for stage in range(1, len(WIDTHS) + 1):
            x = getattr(self, f"layer{stage}")(x)
        scores: Tensor = self.fc(self.global_pool(x).flatten(1))
        return scores


def addressnet_20(*, classes: int) -> nn.Module:
    """Three blocks a stage."""
    return AddressNet(3, variant=Variant(), classes=classes)


def addressnet_44(*, classes: int) -> nn.Module:
    """Seven blocks a stage."""
    return AddressNet(7, variant=Variant(), classes=classes)


def addressnet_20_add(*, classes: int) -> nn.Module:
    """Three blocks a stage, with sums."""
    return AddressNet(3, variant=Variant(shortcut="add"), classes=classes)


def addressnet_44_add(*, classes: int) -> nn.Module:
    """Seven blocks a stage, with sums."""
    return AddressNet(7, variant=Variant(shortcut="add"), classes=classes)
