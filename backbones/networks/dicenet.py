"""DiCENet (Mehta et al., 2019, arXiv 1906.03516), the network of the first two versions.

ShuffleNetV2's plan with DiCE units in the place of its depthwise convolutions, and a classifier
whose first layer has four groups. Units are built for maps of 28, 14 and 7 at 224 pixels, and other
sizes resize in them. A unit of a block has one kernel for each row and column of the map, so
parameters depend on the image size: the printed ones are those at 224.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from backbones.methods.dice.stage import Block, Stage, Stem, StridedBlock
from backbones.methods.dice.unit import draw

_REPEATS = (3, 7, 3)
_GROUPS = 4


class DiceNet(nn.Module):
    """Images (N, 3, H, W) to scores (N, classes).

    Args:
        widths: Of stem, the three stages and the hidden layer of the classifier.
        classes: Width of the classifier.
        image_size: Side in pixels of the images for which rows and columns have kernels.
        dropout: Probability in the classifier.
    """

    def __init__(
        self,
        widths: tuple[int, int, int, int, int],
        *,
        classes: int,
        image_size: int,
        dropout: float,
    ) -> None:
        super().__init__()
        stem, *stages, hidden = widths
        self.stem = Stem(3, stem)
        side, before = _halved(_halved(image_size)), stem
        for number, (width, repeats) in enumerate(zip(stages, _REPEATS, strict=True), start=1):
            side = _halved(side)
            size = (side, side)
            inputs = [2 * before, *[width] * (repeats - 1)]
            blocks = [Block(channels, width, size=size) for channels in inputs]
            setattr(self, f"stage{number}", Stage(StridedBlock(before, size=size), blocks))
            before = width
        self.hidden = nn.Conv2d(before, hidden, 1, groups=_GROUPS, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden, classes)
        draw(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        x = self.stem(x)
        for number in range(1, len(_REPEATS) + 1):
            x = getattr(self, f"stage{number}")(x)
        x = self.hidden(functional.adaptive_avg_pool2d(x, 1)).flatten(1)
        scores: Tensor = self.classifier(self.dropout(x))
        return scores


def _halved(side: int) -> int:
    return -(-side // 2)


def _create(
    widths: tuple[int, int, int, int, int],
    *,
    classes: int,
    image_size: int,
    dropout: float = 0.1,
) -> nn.Module:
    return DiceNet(widths, classes=classes, image_size=image_size, dropout=dropout)


def dicenet_0_2(*, classes: int, image_size: int) -> nn.Module:
    """Stages of 32, 64 and 128."""
    return _create((16, 32, 64, 128, 1024), classes=classes, image_size=image_size)


def dicenet_0_5(*, classes: int, image_size: int) -> nn.Module:
    """Stages of 48, 96 and 192."""
    return _create((24, 48, 96, 192, 1024), classes=classes, image_size=image_size)


def dicenet_0_75(*, classes: int, image_size: int) -> nn.Module:
    """Stages of 86, 172 and 344."""
    return _create((24, 86, 172, 344, 1024), classes=classes, image_size=image_size)


def dicenet_1_0(*, classes: int, image_size: int) -> nn.Module:
    """Stages of 116, 232 and 464."""
    return _create((24, 116, 232, 464, 1024), classes=classes, image_size=image_size)


def dicenet_1_25(*, classes: int, image_size: int) -> nn.Module:
    """Stages of 144, 288 and 576."""
    return _create((24, 144, 288, 576, 1024), classes=classes, image_size=image_size, dropout=0.2)


def dicenet_1_5(*, classes: int, image_size: int) -> nn.Module:
    """Stages of 176, 352 and 704."""
    return _create((24, 176, 352, 704, 1024), classes=classes, image_size=image_size, dropout=0.2)


def dicenet_1_75(*, classes: int, image_size: int) -> nn.Module:
    """Stages of 210, 420 and 840."""
    return _create((24, 210, 420, 840, 1024), classes=classes, image_size=image_size, dropout=0.2)


def dicenet_2_0(*, classes: int, image_size: int) -> nn.Module:
    """Stages of 244, 488 and 976."""
    return _create((24, 244, 488, 976, 1024), classes=classes, image_size=image_size, dropout=0.2)


def dicenet_2_4(*, classes: int, image_size: int) -> nn.Module:
    """Stages of 278, 556 and 1112."""
    return _create((24, 278, 556, 1112, 1280), classes=classes, image_size=image_size, dropout=0.2)
