"""Divide a network into blocks and stages, by the calls of one forward pass."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from backbones.forward_trace import Call
from backbones.sites import Pair

_NUMBER = re.compile(r"\d+")
_ENDS_IN_NUMBER = re.compile(r".*\d")


@dataclass(frozen=True)
class Plan:
    """Where the blocks of a network are.

    Attributes:
        blocks: In the order in which they run.
        stages: Stage of each block, from 0.
        ranks: Index of each block in its stage.
        depthwise: Names of the blocks that hold a depthwise convolution.
        cores: Name to the depthwise convolution of each block that is an inverted residual.
        first_layer: Name of the first convolution or linear layer.
        last_linear: Name of the last layer, if that is linear.
    """

    blocks: Sequence[Call]
    stages: Sequence[int]
    ranks: Sequence[int]
    depthwise: frozenset[str]
    cores: Mapping[str, Call]
    first_layer: str
    last_linear: str

    @classmethod
    def of(cls, calls: Sequence[Call], layers: Sequence[Call]) -> Plan:
        """Divide the calls of a network, of which some are its layers."""
        blocks = sorted(_blocks(calls, layers), key=lambda call: call.begin)
        stages = _stages(blocks)
        seen: dict[int, int] = {}
        ranks = []
        for stage in stages:
            ranks.append(seen.get(stage, 0))
            seen[stage] = ranks[-1] + 1
        depthwise = {
            block.name
            for block in blocks
            for layer in layers
            if is_inside(layer, block) and is_depthwise(layer.module)
        }
        cores = {block.name: core for block in blocks if (core := _core(block, layers))}
        first = layers[0].name if layers else ""
        end = layers[-1] if layers else None
        last = end.name if end is not None and isinstance(end.module, nn.Linear) else ""
        return cls(blocks, stages, ranks, frozenset(depthwise), cores, first, last)

    def place(self, call: Call) -> tuple[int, int, Call | None]:
        """Return stage, index in the stage and block of a call."""
        for block, stage, rank in zip(self.blocks, self.stages, self.ranks, strict=True):
            if call.begin < block.begin:
                return stage if stage > 0 or rank > 0 else -1, -1, None
            if call.begin <= block.end:
                return stage, rank, block
        return (max(self.stages) + 1 if self.stages else 0), -1, None


def _blocks(calls: Sequence[Call], layers: Sequence[Call]) -> list[Call]:
    """Return the innermost modules that are named by a number and hold two layers.

    Where there are none, a name that ends in a number will do (``denselayer3``).
    """
    for numbered in (_NUMBER, _ENDS_IN_NUMBER):
        found = [
            call
            for call in calls
            if numbered.fullmatch(call.name.rpartition(".")[2])
            and sum(is_inside(layer, call) and not on_pooled(layer) for layer in layers) >= 2
        ]
        inner = [
            call
            for call in found
            if not any(other is not call and is_inside(other, call) for other in found)
        ]
        if inner:
            return inner
    return []


def _stages(blocks: Sequence[Call]) -> list[int]:
    parents = [block.name.rpartition(".")[0] for block in blocks]
    distinct = list(dict.fromkeys(parents))
    if len(distinct) > 1:
        return [distinct.index(parent) for parent in parents]
    stages: list[int] = []
    stage, smallest = -1, None
    for block in blocks:
        size = map_size(block.out_shape, block.module)
        if smallest is None or size < smallest:
            stage, smallest = stage + 1, size
        stages.append(stage)
    return stages


def _core(block: Call, layers: Sequence[Call]) -> Call | None:
    """Return the depthwise convolution of an inverted residual block, None for another block.

    Such a block is a 1x1 convolution (none where it widens nothing), a depthwise and a 1x1 one,
    attention aside. A block whose branches take parts of its map is none.
    """
    inside = [one for one in layers if is_inside(one, block) and not is_attention(one, block)]
    at = next((i for i, one in enumerate(inside) if is_depthwise(one.module)), len(inside))
    if at > 1 or len(inside) != at + 2:
        return None
    takes_all = inside[0].in_shape[1] == block.in_shape[1]
    gives_all = inside[-1].out_shape == block.out_shape
    others = (one.module for one in inside if one is not inside[at])
    return inside[at] if takes_all and gives_all and all(map(_is_pointwise, others)) else None


def _is_pointwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)


def is_attention(layer: Call, block: Call) -> bool:
    """Whether a layer is part of an attention: named so, or a convolution on a pooled map."""
    pooled = on_pooled(layer) and block.in_shape[-2:] != (1, 1)
    return "attn" in layer.name.split(".") or pooled


def is_inside(inner: Call, outer: Call) -> bool:
    """Whether one call is part of another."""
    return inner.name.startswith(f"{outer.name}.") and outer.begin < inner.begin < outer.end


def on_pooled(layer: Call) -> bool:
    """Whether a convolution works on a pooled 1x1 map, as those of an attention do."""
    return isinstance(layer.module, nn.Conv2d) and layer.in_shape[-2:] == (1, 1)


def is_depthwise(module: nn.Module) -> bool:
    """Whether it is a convolution of each channel by itself."""
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1


def map_size(shape: tuple[int, ...], module: nn.Module) -> Pair:
    """Return height and width of a map; channels stand last for linear layers.

    Tokens count as height.
    """
    if len(shape) == 4:
        if isinstance(module, nn.Linear):
            return shape[1], shape[2]
        return shape[2], shape[3]
    if len(shape) == 3:
        return shape[1], 1
    return 1, 1


def map_stride(before: Pair, after: Pair) -> Pair:
    """Return by which stride a map of one size became one of another: 33 pixels 17 by 2."""
    down, across = ((2 * x + y) // (2 * y) for x, y in zip(before, after, strict=True))
    return max(1, down), max(1, across)
