"""Weights of OSVAI/ODConv."""

from __future__ import annotations

from collections.abc import Iterator

from backbones.methods.odconv.operator import ODConv2d
from backbones.network_names import mobilenetv2_torchvision, unchanged
from backbones.release import Part, Release, batch_norm

_HEADS = ("channel", "filter", "spatial", "kernel")


def _layer(layer: ODConv2d) -> Iterator[Part]:
    site, kernels = layer.site, layer.weight.shape[0]
    shape = (site.out_channels, site.in_channels // site.groups, *site.kernel_size)
    yield Part("weight", "weight", shape=(kernels, *shape))
    yield Part("attention.fc.weight", "attention.reduce.weight", ones=2)
    yield from batch_norm("attention.bn", "attention.norm")
    for head in _HEADS:
        if getattr(layer.attention, head) is not None:
            yield Part(f"attention.{head}_fc.weight", f"attention.{head}.weight", ones=2)
            yield Part(f"attention.{head}_fc.bias", f"attention.{head}.bias")


RELEASES = (
    Release(
        source="OSVAI/ODConv",
        networks={"resnet*": unchanged, "mobilenetv2_*": mobilenetv2_torchvision},
        layers={ODConv2d: _layer},
    ),
)
