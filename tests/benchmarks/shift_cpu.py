"""CPU time of AddressNet's shift primitives over what they replace: ShuffleNet's channel shuffle.

Three tables, one thread, without gradients: the channel shift alone (a ring whose pointer moves,
with the few channels that it passes copied) over the channel shuffle with its copy; the channel
shift and a 1x1 group convolution over the shuffle and the same convolution, of maps that lie as
usual; and AddressNet's block, with a sum and with the shortcut shift, over the same block with a
sum and a copy for each move of the map, all with their norms folded. The runs take turns in one
process; a ratio is that of the least CPU times, its interval the middle 95 % of 1000
resamplings of the turns.

Usage: python tests/benchmarks/shift_cpu.py [--turns 200] [--only alone conv block]
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from backbones.shift import Shift
from backbones.shift.block import AddressBlock, folded
from backbones.shift.map import ChannelRing, address_shift
from backbones.shift.pointwise import ShiftedPointwise
from backbones.shift.shape import Place, Variant, shapes

Run = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """A map and a group convolution of it."""

    images: int
    channels: int
    outputs: int
    side: int
    groups: int

    def __str__(self) -> str:
        side = f"{self.side}x{self.side}"
        return f"{self.images}x{self.channels}x{side} to {self.outputs}, g{self.groups}"


CASES = (
    Case(1, 240, 240, 28, 3),
    Case(32, 240, 240, 28, 3),
    Case(32, 128, 128, 32, 4),
    Case(1, 96, 16, 32, 2),
    Case(32, 96, 16, 32, 2),
    Case(32, 192, 32, 16, 2),
    Case(32, 384, 64, 8, 2),
    Case(128, 384, 64, 8, 2),
    Case(32, 240, 60, 28, 3),
    Case(32, 480, 120, 14, 3),
    Case(8, 960, 240, 7, 3),
    Case(1, 960, 960, 7, 3),
)
BLOCKS = (
    Case(1, 16, 16, 32, 2),
    Case(32, 16, 16, 32, 2),
    Case(32, 32, 32, 16, 2),
    Case(32, 64, 64, 8, 2),
    Case(1, 128, 128, 28, 2),
    Case(32, 128, 128, 28, 2),
    Case(32, 256, 256, 14, 2),
)


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Shuffle channels as ShuffleNet does, into memory of its own."""
    parts = x.view(x.shape[0], groups, -1, *x.shape[2:])
    return parts.transpose(1, 2).reshape(x.shape)


def alone(case: Case) -> Mapping[str, Run]:
    """Shuffle and shift."""
    shape = (case.images, case.channels, case.side, case.side)
    x = torch.randn(shape)
    ring = ChannelRing(shape, distance=case.channels // (2 * case.groups), like=x)
    ring.room.copy_(x)
    return {"shuffle": partial(shuffle, x, case.groups), "shift": ring.turned}


def with_convolution(case: Case) -> Mapping[str, Run]:
    """Shuffle or shift, and convolve."""
    x = torch.randn(case.images, case.channels, case.side, case.side)
    shift = Shift(case.channels, case.channels // (2 * case.groups))
    layer = ShiftedPointwise(shift, case.outputs, groups=case.groups)
    return {
        "shuffle": lambda: layer.conv(shuffle(x, case.groups)),
        "shift": partial(layer, x),
    }


def block(case: Case) -> Mapping[str, Run]:
    """The block of AddressNet, and the same with copies and a shuffle."""
    places = [Place(case.channels, case.outputs)]
    variants = [Variant(groups=case.groups, shortcut=shortcut) for shortcut in ("shift", "add")]
    shifting, adding = (AddressBlock(shapes(places, variant)[0]).eval() for variant in variants)
    x = torch.randn(case.images, case.channels, case.side, case.side)
    return {
        "copies": partial(_copying, adding, _folded(adding), x),
        "sum": partial(adding.fused(), x),
        "shift": partial(shifting.fused(), x),
    }


def _folded(block: AddressBlock) -> tuple[Tensor, ...]:
    pairs = ((block.expand, block.expand_norm), (block.project.conv, block.project_norm))
    return tuple(
        each.detach() for conv, norm in pairs for each in folded(conv.weight, conv.bias, norm)
    )


def _copying(block: AddressBlock, weights: Sequence[Tensor], x: Tensor) -> Tensor:
    """Compute the block as libraries offer it: a copy for each move of the map."""
    w1, b1, w2, b2 = weights
    groups = block.shape.groups
    wide = functional.conv2d(x, w1, b1, groups=groups).relu_()
    wide = shuffle(address_shift(wide, block.shape.shift.directions), groups)
    return (functional.conv2d(wide, w2, b2, groups=groups) + x).relu_()


TABLES: Mapping[str, tuple[Sequence[Case], Callable[[Case], Mapping[str, Run]]]] = {
    "alone": (CASES, alone),
    "conv": (CASES, with_convolution),
    "block": (BLOCKS, block),
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for name in arguments.only:
        cases, make = TABLES[name]
        for case in cases:
            with torch.inference_mode():
                times = _measure(make(case), turns=arguments.turns)
            base, *others = times
            cells = " ".join(f"{other} {_ratio(times[other], times[base])}" for other in others)
            sys.stdout.write(f"{name:6} {case!s:30} {base} {min(times[base]):.3f} ms  {cells}\n")
            sys.stdout.flush()


def _measure(runs: Mapping[str, Run], *, turns: int) -> Mapping[str, list[float]]:
    """Return the CPU milliseconds of each turn, after some to warm up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(turns + 3):
        for name, run in runs.items():
            before = time.process_time_ns()
            run()
            spent = time.process_time_ns() - before
            if turn >= 3:
                times[name].append(spent / 1e6)
    return times


def _ratio(times: Sequence[float], base: Sequence[float]) -> str:
    draw = random.Random(0)
    ratios = []
    for _ in range(1000):
        some = draw.choices(range(len(times)), k=len(times))
        ratios.append(min(times[i] for i in some) / min(base[i] for i in some))
    ratios.sort()
    return f"{min(times) / min(base):5.3f} ({ratios[25]:5.3f} to {ratios[974]:5.3f})"


if __name__ == "__main__":
    main()
