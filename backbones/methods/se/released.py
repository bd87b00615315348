"""Weights of timm's ResNets with SE, whose linear layers are 1x1 convolutions."""

from __future__ import annotations

from collections.abc import Iterator

from backbones.network_names import unchanged
from backbones.release import Part, Release
from backbones.squeeze_excitation import SqueezeExcitation


def _layer(layer: SqueezeExcitation) -> Iterator[Part]:
    for theirs, ours in (("fc1", "squeeze"), ("fc2", "excite")):
        yield Part(f"{theirs}.weight", f"{ours}.weight", ones=2)
        if layer.squeeze.bias is not None:
            yield Part(f"{theirs}.bias", f"{ours}.bias")


RELEASES = (
    Release(
        source="huggingface/pytorch-image-models",
        networks={"resnet*": unchanged},
        layers={SqueezeExcitation: _layer},
    ),
)
