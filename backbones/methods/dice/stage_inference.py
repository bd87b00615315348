"""A stage of DiCENet for inference on a CPU, in which no channel is dealt out before it is needed.

Half of the channels pass a block as they are, and are only dealt out among the new ones. So what
each block makes is left where it is, and a block gathers the channels that it takes from what the
blocks before it made: their order is that of its kernel's columns. Shape suffixes: M pixels of all
images, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from backbones.fusion.conv import FoldedConv2d
from backbones.fusion.linear import FoldedLinear
from backbones.methods.dice.inference import (
    FusedDice,
    Way,
    folded,
    joined,
    padded,
    parts,
    prelu,
    room,
    slopes,
)

if TYPE_CHECKING:
    from backbones.methods.dice.stage import Block, Stage, StridedBlock
    from backbones.methods.dice.unit import ConvNormPReLU, Dice

Place = tuple[int, int]
"""Which of the pieces that blocks made holds a channel, and where."""
Run = tuple[int, int, int]
"""Channels side by side that go one way: of which piece, the first, and how many."""


class FusedStage(nn.Module):
    """What a stage for square maps computes in evaluation mode.

    Args:
        stage: The stage; it is kept for what a unit inside does not take (see `FusedDice`).
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.general = stage
        strided, *blocks = stage
        self.strided = _FusedStridedBlock(cast("StridedBlock", strided))
        self.blocks = nn.ModuleList()
        half = self.strided.unit.channels
        places = _dealt([(piece, channel) for piece in (0, 1) for channel in range(half)])
        taken: list[list[Run]] = []
        for piece, block in enumerate(cast("list[Block]", blocks), start=2):
            runs, order = _runs(places[block.passed :])
            taken.append(runs)
            made = _FusedBlock(block, order)
            self.blocks.append(made)
            new = [(piece, channel) for channel in range(made.unit.channels)]
            places = _dealt([*places[: block.passed], *new])
        runs, order = _runs(places)
        self.register_buffer("order", torch.tensor(order).argsort())
        # each channel goes one way only: a piece is cut once, and its cuts are what blocks take
        self.cuts, self.taken = _cuts([*taken, runs])
        units = [self.strided.unit, *(cast("_FusedBlock", each).unit for each in self.blocks)]
        self.numbers = max(unit.numbers for unit in units)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, O, H', W')."""
        size = (-(-x.shape[2] // 2), -(-x.shape[3] // 2))
        if not self.strided.unit.takes(x, size):
            general: Tensor = self.general(x)
            return general
        few = parts(x, self.numbers)
        way = Way.of(few[0], self.numbers)
        return joined([self._part(part, way) for part in few])

    def _part(self, x: Tensor, way: Way) -> Tensor:
        cut: list[Tensor] = []
        lengths = iter(self.cuts)
        for piece in self.strided(x, way):
            cut.extend(piece.split(next(lengths), 1))
        *taken, last = self.taken
        for block, indices in zip(self.blocks, taken, strict=True):
            piece = block([cut[index] for index in indices], way)
            cut.extend(piece.split(next(lengths), 1))
        rows = torch.cat([cut[index] for index in last], dim=1)
        rows = rows.index_select(1, cast("Tensor", self.order))
        side = self.strided.unit.side
        return rows.view(x.shape[0], side, side, -1).permute(0, 3, 1, 2)


class _Pointwise(nn.Module):
    """A 1x1 convolution with its norm and PReLU, of pixels one below the other."""

    def __init__(self, layer: ConvNormPReLU, *, order: Sequence[int] | None = None) -> None:
        super().__init__()
        conv = folded(layer)
        weight = conv.weight[:, :, 0, 0]
        with torch.device("meta"):
            linear = nn.Linear(*weight.shape[::-1])
        columns = slice(None) if order is None else list(order)
        linear.weight = nn.Parameter(weight[:, columns].contiguous(), requires_grad=False)
        linear.bias = cast("nn.Parameter", conv.bias)
        self.linear = FoldedLinear(linear)
        self.slopes = slopes(layer).flatten()

    def forward(self, rows: Tensor) -> Tensor:
        """Map (M, C) to (M, O)."""
        y: Tensor = prelu(self.linear.forward(rows), self.slopes)
        return y


class _FusedStridedBlock(nn.Module):
    def __init__(self, block: StridedBlock) -> None:
        super().__init__()
        depthwise, pointwise = cast("list[ConvNormPReLU]", list(block.left))
        self.depthwise = folded(depthwise)
        self.slopes = slopes(depthwise)
        self.left = _Pointwise(pointwise)
        self.pool = _mean_of_windows(depthwise.conv)
        _, unit, last = block.right
        self.unit = FusedDice(cast("Dice", unit))
        self.right = _Pointwise(cast("ConvNormPReLU", last))

    def forward(self, x: Tensor, way: Way) -> list[Tensor]:
        """Map (N, C, H, W) to both halves of the output, (M, C) each."""
        x = x.contiguous(memory_format=torch.channels_last)
        left = prelu(self.depthwise.run(x, packed=way.packed), self.slopes)
        right = self.unit.of_padded(padded(self.pool.run(x, packed=way.packed)), way)
        return [self.left(_rows(left)), self.right(_rows(right))]


class _FusedBlock(nn.Module):
    def __init__(self, block: Block, order: Sequence[int]) -> None:
        super().__init__()
        pointwise, unit = block.right
        self.pointwise = _Pointwise(cast("ConvNormPReLU", pointwise), order=order)
        self.unit = FusedDice(cast("Dice", unit))

    def forward(self, taken: Sequence[Tensor], way: Way) -> Tensor:
        """Map channels that were made before, (M, C) together, to (M, O)."""
        rows = room(taken[0], len(taken[0]), channels=self.pointwise.linear.in_features)
        torch.cat(list(taken), dim=1, out=rows[1:-1])
        return _rows(self.unit.of_padded(self.pointwise(rows), way))


def _rows(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def _dealt(places: Sequence[Place]) -> list[Place]:
    """Deal channels out as a shuffle in two groups does."""
    half = len(places) // 2
    return [place for pair in zip(places[:half], places[half:], strict=True) for place in pair]


def _runs(places: Sequence[Place]) -> tuple[list[Run], list[int]]:
    """Find channels that lie side by side.

    Returns:
        The runs, and of the channels in this order which of the given ones they are.
    """
    order = sorted(range(len(places)), key=lambda index: places[index])
    ordered = [places[index] for index in order]
    cuts = [
        index
        for index, (one, other) in enumerate(pairwise(ordered), start=1)
        if other != (one[0], one[1] + 1)
    ]
    ends = [*cuts, len(ordered)]
    runs = [(*ordered[begin], end - begin) for begin, end in zip([0, *cuts], ends, strict=True)]
    return runs, order


def _cuts(taken: Sequence[Sequence[Run]]) -> tuple[list[list[int]], list[list[int]]]:
    """Number all runs by where they lie.

    Returns:
        The lengths of the runs of each piece, and for each of `taken` the numbers of its runs.
    """
    every = sorted(run for runs in taken for run in runs)
    number = {run: index for index, run in enumerate(every)}
    pieces = range(every[-1][0] + 1)
    lengths = [[length for of, _, length in every if of == piece] for piece in pieces]
    return lengths, [[number[run] for run in runs] for runs in taken]


def _mean_of_windows(like: nn.Conv2d) -> FoldedConv2d:
    """Average 3x3 windows with zeros at the border: a depthwise convolution is faster at it."""
    conv = nn.Conv2d(
        like.in_channels,
        like.in_channels,
        3,
        stride=2,
        padding=1,
        groups=like.in_channels,
        bias=False,
        device="meta",
    )
    conv.weight = nn.Parameter(torch.full_like(like.weight, 1 / 9), requires_grad=False)
    return FoldedConv2d(conv)
