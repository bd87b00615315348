"""Weights of BangguWu/ECANet: ResNets and MobileNetV2. timm's have our own names."""

from __future__ import annotations

import re
from collections.abc import Iterator

from torch import nn

from backbones.methods.eca.operator import EfficientChannelAttention
from backbones.network_names import Rename, mobilenetv2_torchvision, unchanged
from backbones.release import Part, Release

_GATED_NORM = re.compile(r"(?P<norm>.+\.bn\d)\.(?P<number>[01])")


def _mobilenetv2(network: nn.Module) -> Rename:
    """Name as torchvision does; the gate has the number after that of the norm before it."""
    usual = mobilenetv2_torchvision(network)

    def rename(path: str) -> str:
        match = _GATED_NORM.fullmatch(path)
        if match is None:
            return usual(path)
        layers, _, number = usual(match["norm"]).rpartition(".")
        return f"{layers}.{int(number) + int(match['number'])}"

    return rename


def _layer(layer: EfficientChannelAttention) -> Iterator[Part]:
    del layer
    yield Part("conv.weight", "conv.weight")


RELEASES = (
    Release(
        source="BangguWu/ECANet",
        networks={"resnet*": unchanged, "mobilenetv2_*": _mobilenetv2},
        layers={EfficientChannelAttention: _layer},
        suffixes={".se": ".eca"},
    ),
)
