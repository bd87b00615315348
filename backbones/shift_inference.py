"""Shifted point-wise convolutions without gradients on a CPU, where copies of maps cost most.

A rotation moves nothing: each group of the convolution is a product for each run of channels that
lies together, read where it lies. A translation commutes with a product over channels, so it is
done after it where fewer channels come out than go in; else before it, in a part of the map that a
cache holds. Shape suffixes: G groups, O outputs, C channels, P positions (images, rows, columns).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from backbones.shift import STILL, Pair, Piece, Shift
from backbones.shift_map import fill, memory_format, overlap

PART = 2**18
"""Numbers of a map (1 MiB in single precision) that are worked on at a time."""


@dataclass(frozen=True)
class Mixing:
    """What a shifted point-wise convolution does with a map, apart from its numbers.

    Attributes:
        shift: What happens to the channels before the product.
        outputs: Channels that come out.
        groups: Of the convolution.
        stride: Vertical and horizontal.
        pieces: The runs of channels, each within one group.
        runs: The same, groups that lie together as one.
        even: The same in the order of their source, where each is as long as the others.
        only_rotates: Whether no channel is translated and no pixel left out.
    """

    shift: Shift
    outputs: int
    groups: int = 1
    stride: Pair = (1, 1)
    pieces: tuple[Piece, ...] = field(init=False, repr=False, compare=False)
    runs: tuple[Piece, ...] = field(init=False, repr=False, compare=False)
    even: tuple[Piece, ...] | None = field(init=False, repr=False, compare=False)
    only_rotates: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Cut once."""
        pieces = self.shift.cut(self.groups)
        is_even = len({piece.length for piece in pieces}) == 1
        ordered = tuple(sorted(pieces, key=lambda piece: piece.source))
        still = all(piece.offset == STILL for piece in pieces)
        found = {
            "pieces": pieces,
            "runs": _joined(pieces, self.shift.channels // self.groups),
            "even": ordered if is_even else None,
            "only_rotates": still and self.stride == (1, 1),
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)

    @property
    def translates_after(self) -> bool:
        """Whether translating what comes out moves fewer channels than what goes in."""
        moving = [piece for piece in self.pieces if piece.offset != STILL]
        out = len(moving) * self.outputs // self.groups
        return self.stride == (1, 1) and out <= sum(piece.length for piece in moving)

    def size(self, x: Tensor) -> Pair:
        """Return the height and width of what comes out."""
        height, width = x.shape[-2:]
        return -(-height // self.stride[0]), -(-width // self.stride[1])

    def weights_of(self, weight: Tensor, piece: Piece) -> Tensor:
        """Return the (O / G, length) part of a weight, (O, C / G), that multiplies a piece."""
        group, column = divmod(piece.target, weight.shape[1])
        rows = self.outputs // self.groups
        return weight[group * rows : (group + 1) * rows, column : column + piece.length]


def _joined(pieces: Sequence[Piece], width: int) -> tuple[Piece, ...]:
    """Join whole groups that move in one direction and lie together."""
    runs: list[Piece] = []
    for piece in pieces:
        last = runs[-1] if runs else None
        if (
            last is not None
            and last.length % width == 0 == piece.length % width
            and (last.source + last.length, last.offset) == (piece.source, piece.offset)
        ):
            runs[-1] = replace(last, length=last.length + piece.length)
        else:
            runs.append(piece)
    return tuple(runs)


def images_at_a_time(x: Tensor, channels: int) -> int:
    """Return how many images of so many channels a cache holds, at least one."""
    return max(1, PART // max(1, channels * x.shape[-2] * x.shape[-1]))


def accumulate(y: Tensor, x: Tensor, weight: Tensor, mixing: Mixing) -> None:
    """Add a shifted point-wise convolution to a map.

    Args:
        y: (O, N, H', W'), with images, rows and columns dense; changed in place.
        x: (C, N, H, W), likewise.
        weight: (O, C / G).
        mixing: What to do.
    """
    if not mixing.translates_after:
        _translate_first(y, x, weight, mixing)
    elif mixing.even is not None and mixing.shift.directions:
        _multiply_at_once(y, x, weight, mixing)
    else:
        _multiply_runs(y, x, weight, mixing)


def _translate_first(y: Tensor, x: Tensor, weight: Tensor, mixing: Mixing) -> None:
    moved = x.new_empty(x.shape[0], *y.shape[1:])
    for piece in mixing.shift.pieces:
        fill(
            moved.narrow(0, piece.target, piece.length),
            x.narrow(0, piece.source, piece.length),
            offset=piece.offset,
            stride=mixing.stride,
            boundary=mixing.shift.boundary,
        )
    groups = mixing.groups
    y_GOP = y.view(groups, -1, y[0].numel())
    y_GOP.baddbmm_(weight.view(groups, -1, weight.shape[1]), moved.view(groups, -1, y[0].numel()))


def _multiply_at_once(y: Tensor, x: Tensor, weight: Tensor, mixing: Mixing) -> None:
    """Multiply all pieces in the order in which they lie, and translate what comes out."""
    assert mixing.even is not None
    count, rows = len(mixing.even), mixing.outputs // mixing.groups
    # in the order of the groups, which begins `first` pieces after that of the map
    first = mixing.pieces[0].source // mixing.pieces[0].length
    by_group = weight.view(mixing.groups, rows, count // mixing.groups, -1).transpose(1, 2)
    weights = torch.roll(by_group.reshape(count, rows, -1), first, dims=0)
    z = torch.bmm(weights, x.view(count, -1, x[0].numel()))
    for piece, part in zip(mixing.even, z.view(count, rows, *y.shape[1:]).unbind(), strict=True):
        _add_translated(_group(y, piece, mixing), part, piece=piece, shift=mixing.shift)


def _multiply_runs(y: Tensor, x: Tensor, weight: Tensor, mixing: Mixing) -> None:
    for piece in mixing.pieces:
        target, weights = _group(y, piece, mixing), mixing.weights_of(weight, piece)
        x_CP = x.narrow(0, piece.source, piece.length).flatten(1)
        if piece.offset == STILL:
            target.flatten(1).addmm_(weights, x_CP)
        else:
            part = torch.mm(weights, x_CP).view(-1, *y.shape[1:])
            _add_translated(target, part, piece=piece, shift=mixing.shift)


def _group(y: Tensor, piece: Piece, mixing: Mixing) -> Tensor:
    rows = mixing.outputs // mixing.groups
    group = piece.target // (mixing.shift.channels // mixing.groups)
    return y.narrow(0, group * rows, rows)


def _add_translated(y: Tensor, z: Tensor, *, piece: Piece, shift: Shift) -> None:
    """Add z[i + dy, j + dx] to y[i, j]."""
    if shift.boundary == "wrap":
        positions = y.shape[-2] * y.shape[-1]
        away = (piece.offset[0] * y.shape[-1] + piece.offset[1]) % max(1, positions)
        y_P, z_P = y.flatten(-2), z.flatten(-2)
        y_P[..., : positions - away].add_(z_P[..., away:])
        y_P[..., positions - away :].add_(z_P[..., :away])
        return
    size = (y.shape[-2], y.shape[-1])
    inside, read = overlap(size, size, offset=piece.offset, stride=(1, 1))
    for axis, side in zip((-2, -1), size, strict=True):
        length = inside[axis].stop - inside[axis].start
        if length < side:
            y = y.narrow(axis, inside[axis].start, length)
            z = z.narrow(axis, read[axis].start, length)
    y.add_(z)


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
    shape = (x.shape[0], mixing.outputs, *mixing.size(x))
    y = torch.empty(shape, dtype=x.dtype, memory_format=memory_format(x))
    if mixing.only_rotates:
        y_NOP, x_NCP = y.flatten(2), x.flatten(2)
        if x.shape[0] == 1:
            _rotate_one(y_NOP[0], x_NCP[0], weight, bias, mixing=mixing)
        else:
            _rotate(y_NOP, x_NCP, weight, bias, mixing=mixing)
        return y
    for part in parts(x.shape[0], images_at_a_time(x, x.shape[1])):
        with Part(y[part]) as target:
            start(target, bias)
            accumulate(target, by_channel(x[part]), weight, mixing)
    return y


def _rotate(
    y_NOP: Tensor, x_NCP: Tensor, weight: Tensor, bias: Tensor | None, *, mixing: Mixing
) -> None:
    """Write a convolution of several maps whose channels move in no direction."""
    rows, width = mixing.outputs // mixing.groups, weight.shape[1]
    for piece in mixing.pieces:
        first, column = piece.target // width * rows, piece.target % width
        weights = weight[first : first + rows, column : column + piece.length]
        _multiply(
            y_NOP.narrow(1, first, rows),
            weights.expand(x_NCP.shape[0], -1, -1),
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
