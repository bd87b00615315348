"""Convolution of one image at a time as a matrix product over its unfolded windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from backbones.products import linear
from backbones.sites import Pair


@dataclass(frozen=True, slots=True)
class Window:
    """What a convolution sees at each position, vertical before horizontal.

    Attributes:
        size: Of the kernel.
        stride: Between neighbouring windows.
        padding: Zeros on each side.
        dilation: Between neighbouring taps.
    """

    size: Pair
    stride: Pair
    padding: Pair
    dilation: Pair

    @property
    def is_point(self) -> bool:
        """Whether it is one position, never in the padding."""
        return self.size == (1, 1) and self.padding == (0, 0)

    @property
    def place(self) -> tuple[Pair, Pair, Pair]:
        """Stride, padding and dilation, in the order of `torch.nn.functional.conv2d`."""
        return self.stride, self.padding, self.dilation

    def positions(self, x: Tensor) -> Pair:
        """Return the height and width of the map that comes of (N, C, H, W)."""
        height, width = (
            (length + 2 * padding - dilation * (size - 1) - 1) // stride + 1
            for length, size, stride, padding, dilation in zip(
                x.shape[2:], self.size, self.stride, self.padding, self.dilation, strict=True
            )
        )
        return height, width


class Windows:
    """The windows of some images, unfolded once for any number of kernels.

    Args:
        x: (N, C, H, W), in either memory format.
        window: What a convolution sees at each position.
    """

    def __init__(self, x: Tensor, window: Window) -> None:
        self.x = x
        self.window = window

    def products(self, kernels: Tensor) -> Iterator[Tensor]:
        """Apply one kernel to each image.

        Args:
            kernels: (N, O, C, k, k). Contiguous ones are taken as they lie, others are laid out
                with channels last.

        Yields:
            (O, H', W') of each image.
        """
        height, width = self.window.positions(self.x)
        as_usual = (self.x if self.window.is_point else kernels).is_contiguous()
        if as_usual:
            for kernel, windows in zip(kernels.flatten(2), self._usual_NFP, strict=True):
                yield linear(kernel, windows.t()).view(-1, height, width)
            return
        kernels_NOF = kernels.permute(0, 1, 3, 4, 2).flatten(2).contiguous()
        for kernel, windows in zip(kernels_NOF, self._last_NPF, strict=True):
            yield linear(windows, kernel).view(height, width, -1).permute(2, 0, 1)

    @cached_property
    def _usual_NFP(self) -> Tensor:
        """(N, C * k * k, H' * W')."""
        if self.window.is_point:
            return self._points.flatten(2)
        return self._views(self.x.contiguous()).permute(0, 3, 4, 5, 1, 2).flatten(4).flatten(1, 3)

    @cached_property
    def _last_NPF(self) -> Tensor:
        """(N, H' * W', k * k * C)."""
        if self.window.is_point:
            return self._points.permute(0, 2, 3, 1).flatten(1, 2)
        last = self.x.contiguous(memory_format=torch.channels_last)
        return self._views(last).permute(0, 1, 2, 4, 5, 3).flatten(3).flatten(1, 2)

    @property
    def _points(self) -> Tensor:
        down, right = self.window.stride
        return self.x[:, :, ::down, ::right]

    def _views(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to a view (N, H', W', C, k, k); copying it is faster than `unfold`."""
        window = self.window
        top, left = window.padding
        maps = functional.pad(x, (left, left, top, top)) if top or left else x
        image, channel, row, column = maps.stride()
        return maps.as_strided(
            (len(maps), *window.positions(x), maps.shape[1], *window.size),
            (
                image,
                row * window.stride[0],
                column * window.stride[1],
                channel,
                row * window.dilation[0],
                column * window.dilation[1],
            ),
            maps.storage_offset(),
        )
