"""MobileNetV2 for images of 32 pixels, without the first two strides.

timm's network otherwise. Papers that train it on CIFAR do not agree on which strides go; these are
the ones that ``antnet_1_0_cifar`` lacks, too, so that the two differ in their blocks alone.
"""

from __future__ import annotations

import timm
from torch import nn


def mobilenetv2_100_cifar(*, classes: int) -> nn.Module:
    """Multiplier 1; maps of 4 pixels at the end."""
    network: nn.Module = timm.create_model("mobilenetv2_100", num_classes=classes)
    for path in ("conv_stem", "blocks.1.0.conv_dw"):
        conv = network.get_submodule(path)
        assert isinstance(conv, nn.Conv2d)
        conv.stride = (1, 1)
    return network
