"""Weights of XudongLinthu/context-gated-convolution."""

from __future__ import annotations

from collections.abc import Iterator

from backbones.methods.cgc.operator import ContextGatedConv2d
from backbones.network_names import unchanged
from backbones.release import Part, Release, batch_norm


def _layer(layer: ContextGatedConv2d) -> Iterator[Part]:
    del layer
    yield Part("weight", "weight")
    yield Part("ce.weight", "gate.encode.weight")
    yield Part("ci.weight", "gate.interact.weight")
    yield Part("gd.weight", "gate.decode_input.weight")
    yield Part("gd2.weight", "gate.decode_output.weight")
    yield from batch_norm("ce_bn", "gate.input_norm")
    yield from batch_norm("ci_bn2", "gate.interact_norm")
    yield from batch_norm("ci_bn", "gate.output_norm")


RELEASES = (
    Release(
        source="XudongLinthu/context-gated-convolution",
        networks={"resnet*": unchanged},
        layers={ContextGatedConv2d: _layer},
    ),
)
