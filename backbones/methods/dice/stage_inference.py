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

from backbones.folded_conv import FoldedConv2d
from backbones.methods.dice.inference import (
    FusedDice,
    folded,
    padded,
    parts,
    prelu,
    room,
    slopes,
)
from backbones.products import linear

if TYPE_CHECKING:
    from backbones.methods.dice.stage import Block, Stage, StridedBlock
    from backbones.methods.dice.unit import ConvNormPReLU, Dice

Place = tuple[int, int]
"""Which of the pieces that blocks made holds a channel, and where."""
Slice = tuple[int, int, int]
"""Of which piece, its first channel, and how many channels from there on."""


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
        half = self.strided.channels
        places = _dealt([(piece, channel) for piece in (0, 1) for channel in range(half)])
        for piece, block in enumerate(cast("list[Block]", blocks), start=2):
            made = _FusedBlock(block, places[block.passed :])
            self.blocks.append(made)
            new = [(piece, channel) for channel in range(made.unit.channels)]
            places = _dealt([*places[: block.passed], *new])
        self.gathered = _Gathered(places)
        self.channels = len(places)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, O, H', W')."""
        unit = self.strided.unit
        size = (-(-x.shape[2] // 2), -(-x.shape[3] // 2))
        units = [unit, *(cast("_FusedBlock", block).unit for block in self.blocks)]
        if not unit.takes(x, size):
            general: Tensor = self.general(x)
            return general
        numbers = max(each.numbers for each in units)
        few = parts(x, numbers)
        workspace = x.new_empty(len(few[0]) * numbers)
        return torch.cat([self._part(part, workspace) for part in few])

    def _part(self, x: Tensor, workspace: Tensor) -> Tensor:
        pieces: list[Tensor] = self.strided(x, workspace)
        for block in self.blocks:
            pieces.append(block(pieces, workspace))
        rows: Tensor = self.gathered(pieces)
        side = self.strided.unit.side
        return rows.view(x.shape[0], side, side, self.channels).permute(0, 3, 1, 2)


class _Pointwise(nn.Module):
    """A 1x1 convolution with its norm and PReLU, of pixels one below the other."""

    def __init__(self, layer: ConvNormPReLU, *, order: Sequence[int] | None = None) -> None:
        super().__init__()
        conv = folded(layer)
        weight = conv.weight[:, :, 0, 0]
        weight = weight.contiguous() if order is None else weight[:, list(order)]
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = conv.bias
        self.slopes = slopes(layer).flatten()

    def forward(self, rows: Tensor) -> Tensor:
        """Map (M, C) to (M, O)."""
        y: Tensor = prelu(linear(rows, self.weight, self.bias), self.slopes)
        return y


class _FusedStridedBlock(nn.Module):
    def __init__(self, block: StridedBlock) -> None:
        super().__init__()
        depthwise, pointwise = cast("list[ConvNormPReLU]", list(block.left))
        self.depthwise = folded(depthwise)
        self.slopes = slopes(depthwise)
        self.left = _Pointwise(pointwise)
        self.pool = _mean_of_windows(depthwise.conv)
        self.unit = FusedDice(cast("Dice", block.right[1]))
        self.right = _Pointwise(cast("ConvNormPReLU", block.right[2]))
        self.channels = self.unit.channels

    def forward(self, x: Tensor, workspace: Tensor) -> list[Tensor]:
        """Map (N, C, H, W) to both halves of the output, (M, C) each."""
        x = x.contiguous(memory_format=torch.channels_last)
        left = prelu(self.depthwise(x), self.slopes)
        right = self.unit.of_padded(padded(self.pool(x)), workspace)
        return [self.left(_rows(left)), self.right(_rows(right))]


class _FusedBlock(nn.Module):
    def __init__(self, block: Block, taken: Sequence[Place]) -> None:
        super().__init__()
        pointwise, unit = block.right
        self.slices, order = _slices(taken)
        self.pointwise = _Pointwise(cast("ConvNormPReLU", pointwise), order=order)
        self.unit = FusedDice(cast("Dice", unit))

    def forward(self, pieces: Sequence[Tensor], workspace: Tensor) -> Tensor:
        """Map what was made before, (M, C) each, to (M, O)."""
        rows = room(pieces[0], len(pieces[0]), channels=self.pointwise.weight.shape[1])
        torch.cat(_taken(pieces, self.slices), dim=1, out=rows[1:-1])
        return _rows(self.unit.of_padded(self.pointwise(rows), workspace))


class _Gathered(nn.Module):
    """All channels in their order."""

    def __init__(self, places: Sequence[Place]) -> None:
        super().__init__()
        self.slices, order = _slices(places)
        self.register_buffer("order", torch.tensor(order).argsort())

    def forward(self, pieces: Sequence[Tensor]) -> Tensor:
        """Map what was made, (M, C) each, to (M, O)."""
        taken = torch.cat(_taken(pieces, self.slices), dim=1)
        return taken.index_select(1, cast("Tensor", self.order))


def _taken(pieces: Sequence[Tensor], slices: Sequence[Slice]) -> list[Tensor]:
    return [pieces[piece].narrow(1, begin, length) for piece, begin, length in slices]


def _rows(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def _dealt(places: Sequence[Place]) -> list[Place]:
    """Deal channels out as a shuffle in two groups does."""
    half = len(places) // 2
    return [place for pair in zip(places[:half], places[half:], strict=True) for place in pair]


def _slices(places: Sequence[Place]) -> tuple[list[Slice], list[int]]:
    """Find channels that lie side by side.

    Returns:
        The runs, and of the channels in this order which of the given
        ones they are.
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
