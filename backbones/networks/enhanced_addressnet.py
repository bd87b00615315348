"""Enhanced AddressNet (He et al., WACV 2019, arXiv 1809.08458), for images of 224 pixels.

Published is the name. What stands here is *our reading*: the block of AddressNet with shortcut
shift, a strided 3x3 stem, four stages that halve the map and double the width by the shortcut shift
alone, and a dense 1x1 convolution at the end of each, which joins what two groups keep apart.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from backbones.shift.block import AddressBlock
from backbones.shift.shape import Place, Variant, shapes

STEM = 32
WIDTHS = (64, 128, 256, 512)
BLOCKS = (2, 3, 5, 2)
VARIANT = Variant(expansion=3.0)


class EnhancedAddressNet(nn.Module):
    """Images (N, 3, H, W) to scores (N, classes).

    Args:
        classes: Width of the classifier.
    """

    def __init__(self, *, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, STEM, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.act1 = nn.ReLU(inplace=True)
        for stage, (before, width) in enumerate(pairwise((STEM, *WIDTHS)), start=1):
            blocks = BLOCKS[stage - 1]
            places = [Place(before, width, (2, 2)), *[Place(width, width)] * (blocks - 1)]
            made = [AddressBlock(shape) for shape in shapes(places, VARIANT)]
            setattr(self, f"layer{stage}", nn.Sequential(*made))
            setattr(self, f"join{stage}", _join(width))
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(WIDTHS[-1], classes)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        x = self.act1(self.bn1(self.conv1(x)))
        for stage in range(1, len(WIDTHS) + 1):
            x = getattr(self, f"join{stage}")(getattr(self, f"layer{stage}")(x))
        scores: Tensor = self.fc(self.global_pool(x).flatten(1))
        return scores


def _join(width: int) -> nn.Sequential:
    conv = nn.Conv2d(width, width, 1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True))


def create(*, classes: int) -> nn.Module:
    """Make the network."""
    return EnhancedAddressNet(classes=classes)
