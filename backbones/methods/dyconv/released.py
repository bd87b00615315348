"""Weights of kaijieshi7/Dynamic-convolution-Pytorch."""

from __future__ import annotations

from collections.abc import Iterator

from backbones.methods.dyconv.operator import DynamicConv2d
from backbones.network_names import unchanged
from backbones.release import Part, Release


def _layer(layer: DynamicConv2d) -> Iterator[Part]:
    site, kernels = layer.site, layer.weight.shape[0]
    shape = (site.out_channels, site.in_channels // site.groups, *site.kernel_size)
    yield Part("weight", "weight", shape=(kernels, *shape))
    if layer.bias is not None:
        yield Part("bias", "bias")
    yield Part("attention.fc1.weight", "attention.reduce.weight", ones=2)
    yield Part("attention.fc2.weight", "attention.logits.weight", ones=2)
    yield Part("attention.fc2.bias", "attention.logits.bias")


RELEASES = (
    Release(
        source="kaijieshi7/Dynamic-convolution-Pytorch",
        networks={"resnet*": unchanged},
        layers={DynamicConv2d: _layer},
    ),
)
