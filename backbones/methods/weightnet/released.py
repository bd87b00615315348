"""Weights of megvii-model/WeightNet.

MegEngine keeps grouped 1x1 convolutions in five dimensions, and biases and norms as maps; either
those shapes or PyTorch's are read. Running counters are unknown to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from torch import nn

from backbones.methods.weightnet.operator import Reduction, WeightNetConv2d
from backbones.network_names import Rename
from backbones.release import Part, Release, Shape

_BLOCK = re.compile(r"stage(\d)\.(\d+)(?:\.(.+))?")
_IN_BLOCK = {
    "branch1.0": "wnet_proj_1",
    "branch1.1": "bn_proj_1",
    "branch1.2": "wnet_proj_2",
    "branch1.3": "bn_proj_2",
    "branch2.0": "wnet1",
    "branch2.1": "bn1",
    "branch2.3": "wnet2",
    "branch2.4": "bn2",
    "branch2.5": "wnet3",
    "branch2.6": "bn3",
}
_OUTSIDE = {"conv1": "first_conv", "conv5": "conv_last", "fc": "classifier.0"}


def _layer(layer: WeightNetConv2d) -> Iterator[Part]:
    yield Part("wn_fc1.weight", "gains.weight", ones=2)
    yield Part("wn_fc1.bias", "gains.bias")
    outputs, groups, numbers, rank = layer.weight.shape
    yield Part(
        "wn_fc2.weight",
        "weight",
        shape=(outputs * groups * numbers, rank, 1, 1),
        also=(outputs * groups, numbers, rank, 1, 1),
    )


def _reduction(layer: Reduction) -> Iterator[Part]:
    del layer
    yield Part("weight", "linear.weight", ones=2)
    yield Part("bias", "linear.bias")


def _naming(network: nn.Module) -> Rename:
    found = (_BLOCK.fullmatch(path) for path, _ in network.named_modules())
    blocks = [match[0] for match in found if match and not match[3]]
    number = {block: f"features.{index}" for index, block in enumerate(blocks)}

    def rename(path: str) -> str:
        match = _BLOCK.fullmatch(path)
        if match is None:
            first, dot, rest = path.partition(".")
            return _OUTSIDE.get(first, first) + dot + rest
        block = number[f"stage{match[1]}.{match[2]}"]
        return f"{block}.{_IN_BLOCK.get(match[3], match[3])}" if match[3] else block

    return rename


def _shapes(name: str, shape: Shape) -> tuple[Shape, ...]:
    del name
    if len(shape) == 1:
        return (shape, (1, *shape, 1, 1))
    return (shape,)


RELEASES = (
    Release(
        source="megvii-model/WeightNet",
        networks={"shufflenet_v2_weightnet_*": _naming},
        layers={WeightNetConv2d: _layer, Reduction: _reduction},
        suffixes={".router": ".reduce"},
        shapes=_shapes,
    ),
)
