"""The first convolution of AddressNet's block without gradients on a CPU, some images at a time.

Where the block strides, a channel that moves in one direction is read at one of several pixels
only, so it is made there only: the input is translated and thinned out before the convolution, not
the wide map after it, which is a fraction of the work with the same numbers. Shape suffixes: N
images, G groups, O outputs, C channels, P positions (images, rows, columns).
"""

from __future__ import annotations

import torch
from torch import Tensor

from backbones.shift import STILL
from backbones.shift.map import border, fill, overlap
from backbones.shift.mixing import Mixing, thinned

_APART = 16
"""Numbers between the rows of the wide map: at a distance of a power of two, as maps usually are,
rows push each other out of a cache, and products take up to twice as long."""


class Widening:
    """Makes wide maps in one piece of memory, over and over.

    Args:
        weight: (wide, C / G).
        bias: (wide).
        mixing: What is done with the wide map.
        like: (N, C, H, W), the whole map.
        images: At most so many at a time.

    Attributes:
        rest: What is left to be done with the wide map that comes out.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, mixing: Mixing, *, like: Tensor, images: int
    ) -> None:
        self._groups, self._before = mixing.groups, (like.shape[2], like.shape[3])
        self._weight, self._bias, self._mixing = weight, bias, mixing
        self._thins_out = mixing.stride != (1, 1)
        self.rest, self.size = mixing, mixing.size(*self._before)
        if self._thins_out:
            self._pieces, self.rest = thinned(mixing)
        positions = images * self.size[0] * self.size[1]
        self._room = like.new_empty(mixing.shift.channels, positions + _APART)

    def __call__(self, x: Tensor) -> Tensor:
        """Widen some images; the next call writes over what this one returns.

        Args:
            x: (C, N, H, W), with images, rows and columns dense.

        Returns:
            (wide, N, H', W'), likewise; thinned out where the block strides.
        """
        shape = (self._room.shape[0], x.shape[1], *self.size)
        wide_CP = self._room[:, : x.shape[1] * self.size[0] * self.size[1]]
        wide = wide_CP.view(shape)
        if self._thins_out:
            self._widen_thinned(x, wide)
            return wide
        positions, groups = wide_CP.shape[1], self._groups
        wide_GOP, x_GCP = (
            each.view(groups, each.shape[0] // groups, positions)
            for each in (wide_CP, x.flatten(1))
        )
        weight, bias = (each.view(*wide_GOP.shape[:2], -1) for each in (self._weight, self._bias))
        torch.baddbmm(bias, weight, x_GCP, out=wide_GOP).relu_()
        return wide

    def _widen_thinned(self, x: Tensor, wide: Tensor) -> None:
        inputs, outputs = x.shape[0] // self._groups, wide.shape[0] // self._groups
        boundary, stride = self._mixing.shift.boundary, self._mixing.stride
        seen = x.new_empty(inputs, *wide.shape[1:])
        for piece in self._pieces:
            group = piece.source // outputs
            channels = x.narrow(0, group * inputs, inputs)
            fill(seen, channels, offset=piece.offset, stride=stride, boundary=boundary)
            made = wide.narrow(0, piece.source, piece.length)
            weight, bias = (
                each.narrow(0, piece.source, piece.length) for each in (self._weight, self._bias)
            )
            torch.addmm(bias[:, None], weight, seen.flatten(1), out=made.flatten(1)).relu_()
            if boundary == "zero" and piece.offset != STILL:
                inside, _ = overlap(self._before, self.size, offset=piece.offset, stride=stride)
                for rows, columns in border(inside, self.size):
                    made[..., rows, columns].zero_()
