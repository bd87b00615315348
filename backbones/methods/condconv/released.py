"""Weights of d-li14/condconv.pytorch.

timm's ``tf_efficientnet_cc_*`` have no place here: their strided convolutions pad as TensorFlow
does, which no network of ours with this method can. They are networks of timm by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator

from backbones.methods.condconv.operator import CondConv2d, CondLinear, Router
from backbones.network_names import mobilenetv2_spelled
from backbones.release import Part, Release


def _convolution(layer: CondConv2d) -> Iterator[Part]:
    site, experts = layer.site, layer.weight.shape[0]
    shape = (site.out_channels, site.in_channels // site.groups, *site.kernel_size)
    yield Part("weight", "weight", shape=(experts, *shape))


def _classifier(layer: CondLinear) -> Iterator[Part]:
    del layer
    yield Part("weight", "weight", ones=2)


def _router(layer: Router) -> Iterator[Part]:
    del layer
    yield Part("fc.weight", "logits.weight")
    yield Part("fc.bias", "logits.bias")


RELEASES = (
    Release(
        source="d-li14/condconv.pytorch",
        networks={"mobilenetv2_*": mobilenetv2_spelled},
        layers={CondConv2d: _convolution, CondLinear: _classifier, Router: _router},
        suffixes={"classifier.router": "classifier_route", ".router": ".route"},
    ),
)
