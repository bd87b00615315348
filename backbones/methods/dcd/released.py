"""Weights of liyunsheng13/dcd."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import nn

from backbones.methods.dcd.operator import ChannelFusion
from backbones.network_names import Rename, mobilenetv2_flat
from backbones.release import Part, Release, batch_norm


def _layer(compress: str, expand: str) -> Callable[[ChannelFusion], Iterator[Part]]:
    """The ResNets and the MobileNetV2 call the two outer convolutions differently."""

    def parts(layer: ChannelFusion) -> Iterator[Part]:
        names = {"static": "conv", "compress": compress, "expand": expand}
        if layer.is_linear:
            names = {"static": "cls", "compress": "cls_q", "expand": "cls_p"}
        for ours, theirs in names.items():
            shape = tuple(getattr(layer, ours).weight.shape)
            released = shape[:2] if layer.is_linear else shape
            yield Part(f"{theirs}.weight", f"{ours}.weight", shape=released)
        if layer.static.bias is not None:
            yield Part(f"{names['static']}.bias", "static.bias")
        yield from batch_norm("bn1", "compress_norm")
        yield from batch_norm("bn2", "fuse_norm")
        yield Part("fc.0.weight", "controller.squeeze.weight")
        yield Part("fc.1.fc.0.weight", "controller.gate.weight")
        yield Part("fc_phi.weight", "controller.phi.weight")
        yield Part("fc_scale.weight", "controller.scale.weight")

    return parts


def _resnet(network: nn.Module) -> Rename:
    del network
    return lambda path: "classifier.0" if path == "fc" else path


RELEASES = (
    Release(
        source="liyunsheng13/dcd",
        networks={"resnet*": _resnet},
        layers={ChannelFusion: _layer("q", "p")},
    ),
    Release(
        source="liyunsheng13/dcd",
        networks={"mobilenetv2_*": mobilenetv2_flat},
        layers={ChannelFusion: _layer("conv_q", "conv_p")},
    ),
)
