"""Weights of Jongchan/attention-module (the authors' form) and of timm's ResNets (timm's form)."""

from __future__ import annotations

from collections.abc import Iterator

from backbones.methods.cbam.operator import BlockAttention
from backbones.network_names import unchanged
from backbones.release import Part, Release, batch_norm


def _authors(layer: BlockAttention) -> Iterator[Part]:
    if layer.channel is not None:
        for number, ours in ((1, "squeeze"), (3, "excite")):
            yield Part(f"ChannelGate.mlp.{number}.weight", f"channel.{ours}.weight")
            if layer.channel.squeeze.bias is not None:
                yield Part(f"ChannelGate.mlp.{number}.bias", f"channel.{ours}.bias")
    if layer.spatial is not None:
        yield Part("SpatialGate.spatial.conv.weight", "spatial.conv.weight")
        yield from batch_norm("SpatialGate.spatial.bn", "spatial.norm")


def _timm(layer: BlockAttention) -> Iterator[Part]:
    if layer.channel is not None:
        for theirs, ours in (("fc1", "squeeze"), ("fc2", "excite")):
            yield Part(f"channel.{theirs}.weight", f"channel.{ours}.weight", ones=2)
            if layer.channel.squeeze.bias is not None:
                yield Part(f"channel.{theirs}.bias", f"channel.{ours}.bias")
    if layer.spatial is not None:
        yield Part("spatial.conv.conv.weight", "spatial.conv.weight")
        yield from batch_norm("spatial.conv.bn", "spatial.norm")


RELEASES = (
    Release(
        source="Jongchan/attention-module",
        networks={"resnet*": unchanged},
        layers={BlockAttention: _authors},
        suffixes={".se": ".cbam"},
    ),
    Release(
        source="huggingface/pytorch-image-models",
        networks={"resnet*": unchanged},
        layers={BlockAttention: _timm},
    ),
)
