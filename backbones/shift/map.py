"""Maps whose channels are rotated and translated: as copies, and as pointers that moved.

`channel_shift` and `address_shift` say what the primitives mean, as ordinary functions that copy;
`ChannelRing` is the channel shift that copies no map; `shifted` is both primitives in one pass over
the map, with gradients. Shape suffixes: N images, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

from backbones.shift import STILL, Boundary, Pair, Piece, Shift

Slices = tuple[slice, slice]


def channel_shift(x: Tensor, distance: int) -> Tensor:
    """Rotate the channels: y[:, c] = x[:, (c + distance) mod C]. Copies the map.

    Args:
        x: (N, C, H, W).
        distance: In channels.
    """
    return torch.roll(x, -distance, dims=1)


def address_shift(
    x: Tensor, directions: tuple[Pair, ...], *, boundary: Boundary = "zero"
) -> Tensor:
    """Translate each block of channels in its direction. Copies the map.

    Args:
        x: (N, C, H, W).
        directions: (dy, dx) of each block, see `shift.DIRECTIONS`.
        boundary: What is read beyond the border.
    """
    return shifted(x, Shift(x.shape[1], directions=directions, boundary=boundary))


class ChannelRing:
    """A map with room behind its last channel, in which the channel shift moves a pointer.

    The producer writes the map into `room`; `turned` copies the few channels that the pointer
    passes behind the last one, and returns the rotated map where it lies.

    Args:
        shape: (N, C, H, W) of the map.
        distance: Of the channel shift, 0 to C.
        like: Gives dtype and device.

    Attributes:
        room: Where the producer writes, (N, C, H, W); in each channel its images lie together.
    """

    def __init__(self, shape: tuple[int, int, int, int], *, distance: int, like: Tensor) -> None:
        images, channels, height, width = shape
        # channels outermost: with them the pointer moves over all images at once, and the rotated
        # map is one piece of memory
        buffer_CN = like.new_empty(channels + distance, images, height, width)
        self.room = buffer_CN[:channels].transpose(0, 1)
        self._passed, self._behind = buffer_CN[:distance], buffer_CN[channels:]
        self._turned = buffer_CN[distance:].transpose(0, 1)

    def turned(self) -> Tensor:
        """Return the rotated map, (N, C, H, W), in the memory of the ring."""
        self._behind.copy_(self._passed)
        return self._turned


def shifted(x: Tensor, shift: Shift, *, stride: Pair = (1, 1)) -> Tensor:
    """Translate, rotate and sub-sample a map in one pass over it.

    Args:
        x: (N, C, H, W).
        shift: Its channels are those of `x`.
        stride: Vertical and horizontal; each that many-th pixel is kept, beginning with the first.

    Returns:
        (N, C, H', W'), sizes rounded up.
    """
    if torch.compiler.is_compiling() or torch._C._is_tracing():
        return _traceable(x, shift, stride)
    if torch.is_grad_enabled() and x.requires_grad:
        return cast("Tensor", _Shifted.apply(x, shift, stride))
    return gather(x, shift, stride)


class _Shifted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, shift: Shift, stride: Pair) -> Tensor:
        ctx.how = (shift, stride, x.shape[2:])
        return gather(x, shift, stride)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, None, None]:
        shift, stride, size = ctx.how  # type: ignore[attr-defined]  # set above
        return scatter(grad, shift, stride, size=size), None, None


def gather(x: Tensor, shift: Shift, stride: Pair) -> Tensor:
    """Do what `shifted` does, without gradients, into memory of its own."""
    if stride == (1, 1) and all(piece.offset == STILL for piece in shift.pieces):
        return _traceable(x, shift, stride)  # channels that stay in place are copied quickest so
    size = tuple(-(-side // step) for side, step in zip(x.shape[2:], stride, strict=True))
    layout = memory_format(x)
    y = torch.empty((*x.shape[:2], *size), dtype=x.dtype, device=x.device, memory_format=layout)
    for piece in shift.pieces:
        fill(
            y.narrow(1, piece.target, piece.length),
            x.narrow(1, piece.source, piece.length),
            offset=piece.offset,
            stride=stride,
            boundary=shift.boundary,
        )
    return y


def fill(target: Tensor, source: Tensor, *, offset: Pair, stride: Pair, boundary: Boundary) -> None:
    """Write a translated map: target[i, j] = source[s i + dy, s j + dx].

    Args:
        target: (..., H', W').
        source: (..., H, W).
        offset: (dy, dx).
        stride: (sy, sx).
        boundary: What is read beyond the border.
    """
    if boundary == "wrap" and offset != STILL:
        target.copy_(rolled(source, offset)[..., :: stride[0], :: stride[1]])
        return
    inside, read = overlap(_size(source), _size(target), offset=offset, stride=stride)
    for rows, columns in border(inside, _size(target)):
        target[..., rows, columns].zero_()
    target[..., inside[0], inside[1]].copy_(source[..., read[0], read[1]])


def scatter(grad: Tensor, shift: Shift, stride: Pair, *, size: tuple[int, ...]) -> Tensor:
    """Return the gradient of what `gather` read, from that of what it made.

    Args:
        grad: (N, C, H', W').
        shift: As there.
        stride: As there.
        size: (H, W).
    """
    x = grad.new_zeros(grad.shape[0], grad.shape[1], *size)
    for piece in shift.pieces:
        target = x.narrow(1, piece.source, piece.length)
        source = grad.narrow(1, piece.target, piece.length)
        if shift.boundary == "wrap":
            target[..., :: stride[0], :: stride[1]].copy_(source)
            dy, dx = piece.offset
            target.copy_(rolled(target, (-dy, -dx)))
        else:
            inside, read = overlap(_size(target), _size(source), offset=piece.offset, stride=stride)
            target[..., read[0], read[1]].copy_(source[..., inside[0], inside[1]])
    return x


def overlap(source: Pair, target: Pair, *, offset: Pair, stride: Pair) -> tuple[Slices, Slices]:
    """Return where a translated map is not zero, and what it reads there.

    Args:
        source: (H, W) of what is read.
        target: (H', W') of what is written.
        offset: (dy, dx).
        stride: (sy, sx).
    """
    lines = [
        _line(*sides, away, step)
        for sides, away, step in zip(zip(source, target, strict=True), offset, stride, strict=True)
    ]
    (inside_y, read_y), (inside_x, read_x) = lines
    return (inside_y, inside_x), (read_y, read_x)


def _line(source: int, target: int, away: int, step: int) -> tuple[slice, slice]:
    """Return the places along one side that read inside, and what they read."""
    first = max(0, -(away // step))
    last = min(target, (source - 1 - away) // step + 1)
    if last <= first:
        return slice(0, 0), slice(0, 0)
    begin = first * step + away
    return slice(first, last), slice(begin, (last - 1) * step + away + 1, step)


def border(inside: Slices, size: Pair) -> Iterator[Slices]:
    """Yield what lies outside of a part of a map: rows above and below, the sides between them."""
    rows, columns = inside
    everything = slice(None)
    outside = (
        (slice(0, rows.start), everything),
        (slice(rows.stop, size[0]), everything),
        (rows, slice(0, columns.start)),
        (rows, slice(columns.stop, size[1])),
    )
    limits = (rows.start, size[0] - rows.stop, columns.start, size[1] - columns.stop)
    return (place for place, extent in zip(outside, limits, strict=True) if extent > 0)


def rolled(x: Tensor, offset: Pair) -> Tensor:
    """Return a map read at a distance in its memory, the end followed by the beginning."""
    dy, dx = offset
    return torch.roll(x.flatten(-2), -(dy * x.shape[-1] + dx), dims=-1).view(x.shape)


def _traceable(x: Tensor, shift: Shift, stride: Pair) -> Tensor:
    """Do what `shifted` does in functions that tracers know."""
    return torch.cat([_moved(x, piece, shift.boundary, stride) for piece in shift.pieces], dim=1)


def _moved(x: Tensor, piece: Piece, boundary: Boundary, stride: Pair) -> Tensor:
    part, (dy, dx) = x.narrow(1, piece.source, piece.length), piece.offset
    if piece.offset != STILL:
        wraps = boundary == "wrap"
        part = rolled(part, piece.offset) if wraps else functional.pad(part, (-dx, dx, -dy, dy))
    return part[:, :, :: stride[0], :: stride[1]]


def memory_format(x: Tensor) -> torch.memory_format:
    """Return the layout in which a map is given back that is made from `x`."""
    if x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
        return torch.contiguous_format
    return torch.channels_last


def _size(x: Tensor) -> Pair:
    return x.shape[-2], x.shape[-1]
