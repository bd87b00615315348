"""Weights of qiulinzhang/SPConv.pytorch."""

from __future__ import annotations

from collections.abc import Iterator

from backbones.methods.spconv.operator import SplitConv
from backbones.network_names import unchanged
from backbones.release import Part, Release, batch_norm


def _layer(layer: SplitConv) -> Iterator[Part]:
    yield Part("gwc.weight", "group_wise.weight")
    if layer.point_wise is not None:
        yield Part("pwc.weight", "point_wise.weight")
    yield Part("conv1x1.weight", "redundant_conv.weight")
    yield Part("conv1x1.bias", "redundant_conv.bias")
    yield from batch_norm("bn1", "representative_norm")
    yield from batch_norm("bn2", "redundant_norm")


RELEASES = (
    Release(
        source="qiulinzhang/SPConv.pytorch",
        networks={"resnet*": unchanged},
        layers={SplitConv: _layer},
    ),
)
