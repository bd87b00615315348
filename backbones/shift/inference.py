"""Shifted point-wise convolutions without gradients on a CPU, where copies of maps cost most.

A rotation moves nothing: each group of the convolution is a product for each run of channels that
lies together, read where it lies. A translation commutes with a product over channels, so it is
done after it where fewer channels come out than go in; else before it, in a part of the map that a
cache holds. Shape suffixes: G groups, O outputs, C channels, P positions (images, rows, columns).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from backbones.shift import STILL, Pair, Piece
from backbones.shift.map import fill, memory_format, overlap
from backbones.shift.mixing import Mixing

PART = 2**19
"""Numbers of a map (2 MiB in single precision) that are worked on at a time."""


def images_at_a_time(channels: int, size: Pair) -> int:
    """Return how many images of so many channels a cache holds, at least one."""
    return max(1, PART // max(1, channels * size[0] * size[1]))


class Product:
    """A shifted point-wise convolution, laid out for many parts of a map.

    Args:
        weight: (O, C / G).
        mixing: What to do.
        size: Height and width of the map.
    """

    def __init__(self, weight: Tensor, mixing: Mixing, size: Pair) -> None:
        self._mixing = mixing
        self._is_even = mixing.even is not None and bool(mixing.shift.directions)
        pieces = mixing.pieces
        if not mixing.translates_after:
            self._weights = weight.view(mixing.groups, -1, weight.shape[1])
        elif mixing.even is not None and self._is_even:
            pieces = mixing.even
            self._weights = _in_order(weight, mixing)
        else:
            self._weights = weight
        self._moves = [_Move.of(piece, mixing, size) for piece in pieces]

    def add_to(self, y: Tensor, x: Tensor) -> None:
        """Add the convolution of a part of the map to what is there.

        Args:
            y: (O, N, H', W'), with images, rows and columns dense.
            x: (C, N, H, W), likewise.
        """
        if not self._mixing.translates_after:
            self._translate_first(y, x)
        elif self._is_even:
            self._multiply_at_once(y, x)
        else:
            self._multiply_runs(y, x)

    def _translate_first(self, y: Tensor, x: Tensor) -> None:
        moved = x.new_empty(x.shape[0], *y.shape[1:])
        for piece in self._mixing.shift.pieces:
            fill(
                moved.narrow(0, piece.target, piece.length),
                x.narrow(0, piece.source, piece.length),
                offset=piece.offset,
                stride=self._mixing.stride,
                boundary=self._mixing.shift.boundary,
            )
        groups, positions = self._mixing.groups, y[0].numel()
        y_GOP, moved_GCP = (each.flatten(1).view(groups, -1, positions) for each in (y, moved))
        y_GOP.baddbmm_(self._weights, moved_GCP)

    def _multiply_at_once(self, y: Tensor, x: Tensor) -> None:
        """Multiply all pieces in the order in which they lie, and translate what comes out."""
        count, rows, _ = self._weights.shape
        z = torch.bmm(self._weights, x.flatten(1).view(count, -1, x[0].numel()))
        for move, part in zip(self._moves, z.view(count, rows, *y.shape[1:]).unbind(), strict=True):
            move.add(y, part)

    def _multiply_runs(self, y: Tensor, x: Tensor) -> None:
        for piece, move in zip(self._mixing.pieces, self._moves, strict=True):
            weights = _weights_of(self._weights, piece, self._mixing)
            x_CP = x.narrow(0, piece.source, piece.length).flatten(1)
            if piece.offset == STILL:
                y.narrow(0, move.first, move.rows).flatten(1).addmm_(weights, x_CP)
            else:
                move.add(y, torch.mm(weights, x_CP).view(-1, *y.shape[1:]))


@dataclass(frozen=True)
class _Move:
    """Where the product of a piece is added.

    Attributes:
        first: First output.
        rows: Number of outputs.
        away: How far on in memory it reads, where it wraps.
        cuts: Axis, where it is added along it, where it reads, and how long; where it does not.
    """

    first: int
    rows: int
    away: int = 0
    cuts: tuple[tuple[int, int, int, int], ...] = ()

    @classmethod
    def of(cls, piece: Piece, mixing: Mixing, size: Pair) -> _Move:
        rows = mixing.outputs // mixing.groups
        first = piece.target // (mixing.shift.channels // mixing.groups) * rows
        if mixing.shift.boundary == "wrap":
            dy, dx = piece.offset
            return cls(first, rows, away=(dy * size[1] + dx) % (size[0] * size[1]))
        inside, read = overlap(size, size, offset=piece.offset, stride=(1, 1))
        cuts = tuple(
            (axis, inside[axis].start, read[axis].start, inside[axis].stop - inside[axis].start)
            for axis in (-2, -1)
            if inside[axis] != slice(0, size[axis])
        )
        return cls(first, rows, cuts=cuts)

    def add(self, y: Tensor, z: Tensor) -> None:
        """Add z[i + dy, j + dx] to y[i, j]."""
        y = y.narrow(0, self.first, self.rows)
        if self.away:
            y, z = y.flatten(-2), z.flatten(-2)
            rest = y.shape[-1] - self.away
            y.narrow(-1, rest, self.away).add_(z.narrow(-1, 0, self.away))
            y, z = y.narrow(-1, 0, rest), z.narrow(-1, self.away, rest)
        for axis, start, read, length in self.cuts:
            y, z = y.narrow(axis, start, length), z.narrow(axis, read, length)
        y.add_(z)


def _in_order(weight: Tensor, mixing: Mixing) -> Tensor:
    """Return the weight of each piece in the order in which pieces lie in the map."""
    # in the order of the groups, which begins some pieces after that of the map
    first, length = mixing.pieces[0].source, mixing.pieces[0].length
    by_group = weight.view(mixing.groups, -1, weight.shape[1] // length, length).transpose(1, 2)
    return torch.roll(by_group.flatten(0, 1), first // length, dims=0)


def _weights_of(weight: Tensor, piece: Piece, mixing: Mixing) -> Tensor:
    """Return the (O / G, length) part of a weight, (O, C / G), that multiplies a piece."""
    group, column = divmod(piece.target, weight.shape[1])
    rows = mixing.outputs // mixing.groups
    return weight[group * rows : (group + 1) * rows, column : column + piece.length]


def infer(x: Tensor, weight: Tensor, bias: Tensor | None, mixing: Mixing) -> Tensor:
    """Convolve a map, image by image as they lie: nothing of its size is made but what comes out.

    Args:
        x: (N, C, H, W).
        weight: (O, C / G).
        bias: (O) or none.
        mixing: What to do.

    Returns:
        (N, O, H', W') in the memory format of `x`.
    """
    images, _, height, width = x.shape
    shape = (images, mixing.outputs, *mixing.size(height, width))
    y = torch.empty(shape, dtype=x.dtype, memory_format=memory_format(x))
    if mixing.only_rotates:
        y_NOP, x_NCP = y.flatten(2), x.flatten(2)
        if images == 1:
            _rotate_one(y_NOP[0], x_NCP[0], weight, bias, mixing=mixing)
        else:
            _rotate(y_NOP, x_NCP, weight, bias, mixing=mixing)
        return y
    product = Product(weight, mixing, (height, width))
    for part in parts(images, images_at_a_time(x.shape[1], (height, width))):
        with Part(y[part]) as target:
            start(target, bias)
            product.add_to(target, by_channel(x[part]))
    return y


def _rotate(
    y_NOP: Tensor, x_NCP: Tensor, weight: Tensor, bias: Tensor | None, *, mixing: Mixing
) -> None:
    """Write a convolution of several maps whose channels move in no direction."""
    rows, width = mixing.outputs // mixing.groups, weight.shape[1]
    for piece in mixing.pieces:
        first, column = piece.target // width * rows, piece.target % width
        _multiply(
            y_NOP.narrow(1, first, rows),
            _weights_of(weight, piece, mixing).expand(x_NCP.shape[0], -1, -1),
            x_NCP.narrow(1, piece.source, piece.length),
            bias=None if bias is None else bias.narrow(0, first, rows).view(1, rows, 1),
            adds=column > 0,
        )


def _rotate_one(
    y_OP: Tensor, x_CP: Tensor, weight: Tensor, bias: Tensor | None, *, mixing: Mixing
) -> None:
    """Write a convolution of one map whose channels move in no direction."""
    rows, width = mixing.outputs // mixing.groups, weight.shape[1]
    for piece in mixing.runs:
        first, column = piece.target // width * rows, piece.target % width
        groups = piece.length // width
        channels = x_CP.narrow(0, piece.source, piece.length)
        count = max(1, groups) * rows
        target = y_OP.narrow(0, first, count)
        weights = weight.narrow(0, first, count)
        start = None if bias is None else bias.narrow(0, first, count)[:, None]
        if groups > 1:
            target, weights, channels = (
                each.view(groups, -1, each.shape[1]) for each in (target, weights, channels)
            )
            start = None if start is None else start.view(groups, -1, 1)
        elif not groups:
            weights = weights.narrow(1, column, piece.length)
        _multiply(target, weights, channels, bias=start, adds=column > 0)


def _multiply(y: Tensor, weights: Tensor, x: Tensor, *, bias: Tensor | None, adds: bool) -> None:
    """Write, or add, the product of two matrices, or of several."""
    is_one = y.ndim == 2
    if adds:
        (y.addmm_ if is_one else y.baddbmm_)(weights, x)
    elif bias is None:
        (torch.mm if is_one else torch.bmm)(weights, x, out=y)
    else:
        (torch.addmm if is_one else torch.baddbmm)(bias, weights, x, out=y)


def parts(images: int, count: int) -> Sequence[slice]:
    """Divide so many images into parts of at most `count`."""
    return [slice(first, first + count) for first in range(0, images, count)]


def by_channel(x: Tensor) -> Tensor:
    """Return (N, C, H, W) as (C, N, H, W) with all but the channels dense, copied if need be."""
    turned = x.transpose(0, 1)
    return turned if _is_dense(turned) else turned.contiguous()


def start(y: Tensor, bias: Tensor | None, residual: Tensor | None = None) -> None:
    """Set a map to its bias, and to a residual in its first channels.

    Args:
        y: (O, N, H', W').
        bias: (O) or none.
        residual: (at most O, N, H', W') or none.
    """
    column = y.new_zeros(()) if bias is None else bias.view(-1, 1, 1, 1)
    if residual is None:
        y.copy_(column)
        return
    first = residual.shape[0]
    torch.add(residual, column[:first] if bias is not None else column, out=y[:first])
    y[first:].copy_(column[first:] if bias is not None else column)


class Part:
    """Some images of a map by channel: where they lie, or aside and copied back in the end."""

    def __init__(self, y: Tensor) -> None:
        self._turned = y.transpose(0, 1)
        self._is_dense = _is_dense(self._turned)

    def __enter__(self) -> Tensor:
        """Return (O, N, H', W'), with images, rows and columns dense."""
        if self._is_dense:
            self._aside = self._turned
        else:
            self._aside = torch.empty_like(self._turned, memory_format=torch.contiguous_format)
        return self._aside

    def __exit__(self, *_: object) -> None:
        """Copy what was made aside."""
        if not self._is_dense:
            self._turned.copy_(self._aside)


def _is_dense(x: Tensor) -> bool:
    """Whether all but the first dimension lie as in one piece of memory."""
    return x.shape[0] == 0 or x[0].is_contiguous()
