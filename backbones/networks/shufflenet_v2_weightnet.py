"""ShuffleNetV2 of the WeightNet release (megvii-model/WeightNet; Ma et al., ECCV 2018 and 2020).

Stages are narrower than the ShuffleNetV2 paper's (but at 0.5x, which keeps its own), so that
WeightNet's layers cost what the plain network does; the first and the last convolution have biases
in spite of the norms that follow them. A block splits its input into even and odd channels, where
torchvision's interleaves what it gives.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.shufflenetv2 import ShuffleNetV2

_REPEATS = (4, 8, 4)
_FIRST = 24
_LAST = 1024
_NORM_BIAS = 1e-4


class Block(nn.Module):
    """A block that gives even channels before odd ones, so that the next can halve its input.

    Args:
        channels: Of the input; of it a block of stride 1 convolves the second half.
        out_channels: Of the output.
        stride: 1 or 2.

    Attributes:
        parts_channels: Whether even channels come first; not where the next layer takes all.
    """

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.parts_channels = True
        self.is_halving = stride == 1
        inputs, middle = (channels // 2 if stride == 1 else channels), out_channels // 2
        self.branch1 = nn.Sequential()
        if stride > 1:
            self.branch1 = nn.Sequential(
                *_depthwise(inputs, stride=stride), *_pointwise(inputs, inputs)
            )
        self.branch2 = nn.Sequential(
            *_pointwise(inputs, middle),
            *_depthwise(middle, stride=stride),
            *_pointwise(middle, out_channels - inputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same size, or of half the size."""
        first, second = x.chunk(2, dim=1) if self.is_halving else (x, x)
        out: Tensor = torch.cat((self.branch1(first), self.branch2(second)), dim=1)
        if not self.parts_channels:
            return out
        return torch.cat((out[:, ::2], out[:, 1::2]), dim=1)


def _depthwise(channels: int, *, stride: int) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False)
    return conv, nn.BatchNorm2d(channels)


def _pointwise(channels: int, out_channels: int) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(channels, out_channels, 1, bias=False)
    return conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)


def _create(stages: tuple[int, int, int], *, classes: int) -> nn.Module:
    network = ShuffleNetV2(
        list(_REPEATS), [_FIRST, *stages, _LAST], num_classes=classes, inverted_residual=Block
    )
    for stage in (network.stage2, network.stage3, network.stage4):
        stage[-1].parts_channels = False
    network.conv1[0] = nn.Conv2d(3, _FIRST, 3, stride=2, padding=1)
    network.conv5[0] = nn.Conv2d(stages[-1], _LAST, 1)
    _reset(network)
    made: nn.Module = network
    return made


def _reset(network: ShuffleNetV2) -> None:
    """Draw the weights as the release does: 1 over the inputs, 0.01 at both ends."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            is_first = module is network.conv1[0]
            nn.init.normal_(module.weight, std=0.01 if is_first else 1 / module.weight.shape[1])
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.bias, _NORM_BIAS)
    nn.init.normal_(network.fc.weight, std=0.01)
    nn.init.zeros_(network.fc.bias)


def shufflenet_v2_weightnet_x0_5(*, classes: int) -> nn.Module:
    """Stages of 48, 96 and 192."""
    return _create((48, 96, 192), classes=classes)


def shufflenet_v2_weightnet_x1_0(*, classes: int) -> nn.Module:
    """Stages of 112, 224 and 448."""
    return _create((112, 224, 448), classes=classes)


def shufflenet_v2_weightnet_x1_5(*, classes: int) -> nn.Module:
    """Stages of 176, 352 and 704."""
    return _create((176, 352, 704), classes=classes)


def shufflenet_v2_weightnet_x2_0(*, classes: int) -> nn.Module:
    """Stages of 248, 496 and 992."""
    return _create((248, 496, 992), classes=classes)
