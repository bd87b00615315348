"""One kernel per image: mix it from a bank, apply it. What methods with dynamic kernels share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.products import is_plain
from backbones.sites import Pair, Site
from backbones.window import Window, Windows

_PART = 5 * 2**18
"""Numbers of kernels (5 MiB in single precision) that are made before they are used."""
_FEWEST_OUTPUTS = 32
"""Outputs below which a product loses more than the cache gains."""
_SMALL_MAP = 200
"""Positions of a map up to which products over unfolded windows are faster than a convolution."""

KernelsOf = Callable[[slice, slice], Tensor]
"""From images, and the outputs of every run of them, to kernels: (images, outputs, C / groups * k *
k) or, in any memory order, (images, outputs, C / groups, k, k)."""


class Mixing(nn.Module):
    """Mix the kernels of a bank for each image."""

    cost_kind = "assembly"

    def forward(self, weights: Tensor, bank: Tensor) -> Tensor:
        """Return weighted sums.

        Args:
            weights: (N, K), of each kernel for each image.
            bank: (K, ...) kernels. Three dimensions in all serve best: a change of memory format
                of the network takes a parameter of four or five for a map.

        Returns:
            (N, ...), contiguous.
        """
        return (weights @ bank.flatten(1)).view(-1, *bank.shape[1:])


def convolve_in_parts(
    x: Tensor, kernels_of: KernelsOf, *, site: Site, runs: int = 1, together: int = 8
) -> Tensor:
    """Convolve each image with its own kernel, which is made shortly before.

    Where `is_plain` allows it, the kernels of some outputs of some images come at a time, so that a
    cache holds them until they are used.

    Args:
        x: (N, C, H, W), in either memory format.
        kernels_of: Makes kernels; is asked once for each.
        site: The convolution.
        runs: Parts of equal size that the outputs stand in; kernels are asked for the same outputs
            of each of them at once.
        together: Images whose kernels are better made at once, as each time reads a whole bank.

    Returns:
        (N, O, H', W'), in the memory format of `x`.
    """
    window = Window(site.kernel_size, site.stride, site.padding, site.dilation)
    shape = (site.in_channels // site.groups, *site.kernel_size)

    def made(images: slice, outputs: slice) -> Tensor:
        kernels = kernels_of(images, outputs)
        return kernels.view(*kernels.shape[:2], *shape) if kernels.ndim == 3 else kernels

    layout = memory_format(x)
    if not is_plain(x):
        y = _maps(x, made(slice(None), slice(None)), window=window, groups=site.groups)
        return y.contiguous(memory_format=layout)
    outputs, images = _part(site, runs=runs, together=min(together, x.shape[0]))
    blocks = list(_slices(site.out_channels // runs, outputs))
    if x.shape[0] == len(blocks) == 1:
        (y,) = _each(Windows(x, window), made(slice(None), blocks[0]), groups=site.groups)
        return y[None].contiguous(memory_format=layout)
    y = _empty(x, site.out_channels, window=window)
    y_NRo = y.view(x.shape[0], runs, -1, *y.shape[2:])
    for some in _slices(x.shape[0], images):
        windows = Windows(x[some], window)
        for block in blocks:
            maps = _each(windows, made(some, block), groups=site.groups)
            _fill(y_NRo[some, :, block], maps)
    return y


def convolve(
    x: Tensor,
    kernels: Tensor,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Tensor:
    """Convolve each image with its own kernel.

    Args:
        x: (N, C, H, W), in either memory format.
        kernels: (N, O, C / groups, k, k).
        stride: Vertical and horizontal.
        padding: Zeros on each side, vertical and horizontal.
        dilation: Vertical and horizontal.
        groups: Groups of the convolution.

    Returns:
        (N, O, H', W'), in the memory format of `x`.
    """
    window = Window((kernels.shape[3], kernels.shape[4]), stride, padding, dilation)
    if is_plain(x):
        y = _empty(x, kernels.shape[1], window=window)
        _fill(y, _each(Windows(x, window), kernels, groups=groups))
        return y
    y = _maps(x, kernels, window=window, groups=groups)
    return y.contiguous(memory_format=memory_format(x))


def memory_format(x: Tensor) -> torch.memory_format:
    """Return channels-last if (N, C, H, W) lies so and not in the usual format as well."""
    if x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
        return torch.contiguous_format
    return torch.channels_last


def shape_text(site: Site) -> str:
    """Say in a few words what a layer maps to what."""
    height, width = site.kernel_size
    return (
        f"{site.in_channels} -> {site.out_channels}, {height}x{width}, stride={site.stride}, "
        f"groups={site.groups}"
    )


def _empty(x: Tensor, outputs: int, *, window: Window) -> Tensor:
    shape = (x.shape[0], outputs, *window.positions(x))
    # as a convolution under autocast, which leaves double precision alone
    lowers = torch.is_autocast_enabled(x.device.type) and x.dtype is not torch.float64
    dtype = torch.get_autocast_dtype(x.device.type) if lowers else x.dtype
    return torch.empty(shape, dtype=dtype, device=x.device, memory_format=memory_format(x))


def _fill(y: Tensor, maps: Iterable[Tensor]) -> None:
    for out, one in zip(y, maps, strict=True):
        out.copy_(one.view(out.shape))


def _each(windows: Windows, kernels: Tensor, *, groups: int) -> Iterator[Tensor]:
    """Yield the (O, H', W') maps of each image, by the way that is fastest on a CPU."""
    window = windows.window
    if groups > 1:
        yield from _maps(windows.x, kernels, window=window, groups=groups)
    elif window.is_point or math.prod(window.positions(windows.x)) <= _SMALL_MAP:
        yield from windows.products(kernels)
    else:
        last = memory_format(windows.x) is torch.channels_last
        # many small groups are slow here, and each of these products is large enough by itself
        for image, kernel in zip(torch.split(windows.x, 1), _laid_out(kernels, last), strict=True):
            yield functional.conv2d(image, kernel, None, *window.place)[0]


def _maps(x: Tensor, kernels: Tensor, *, window: Window, groups: int) -> Tensor:
    """Return the maps of all images, by operations that record gradients and can be traced."""
    images, outputs = kernels.shape[:2]
    if groups == 1 and window.is_point and images > 1:
        down, right = window.stride
        return _pointwise(x[:, :, ::down, ::right], kernels[..., 0, 0])
    if x.device.type == "cpu" and groups == 1 and not torch.compiler.is_compiling():
        pairs = zip(torch.split(x, 1), kernels.unbind(), strict=True)
        return torch.cat([functional.conv2d(im, k, None, *window.place) for im, k in pairs])
    # all images side by side as the groups of one convolution
    y = functional.conv2d(
        x.reshape(1, -1, *x.shape[2:]),
        kernels.flatten(0, 1).contiguous(),
        None,
        *window.place,
        images * groups,
    )
    return y.view(images, outputs, *y.shape[2:])


def _laid_out(kernels: Tensor, last: bool) -> Tensor:
    """Lay (N, O, C, k, k) out as the maps are."""
    if last:
        return kernels.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    return kernels.contiguous()


def _pointwise(x: Tensor, kernels_NOC: Tensor) -> Tensor:
    """A 1x1 convolution is one matrix product per image, in the memory format of the input."""
    height, width = x.shape[-2:]
    if memory_format(x) is torch.channels_last:
        y = x.permute(0, 2, 3, 1).flatten(1, 2) @ kernels_NOC.transpose(1, 2)
        return y.view(y.shape[0], height, width, -1).permute(0, 3, 1, 2)
    return (kernels_NOC @ x.flatten(2)).view(*kernels_NOC.shape[:2], height, width)


def _part(site: Site, *, runs: int, together: int) -> Pair:
    """Return how many outputs of a run, of how many images, are made at a time.

    The outputs of a convolution with groups stay together.
    """
    fan_in = math.prod(site.kernel_size) * site.in_channels // site.groups
    outputs = site.out_channels // runs
    if site.groups == 1:
        step = max(1, _FEWEST_OUTPUTS // runs)
        fitting = _PART // (fan_in * together * runs * step)
        outputs = min(outputs, max(1, fitting) * step)
    return outputs, max(1, _PART // (outputs * runs * fan_in))


def _slices(count: int, step: int) -> Iterator[slice]:
    return (slice(first, first + step) for first in range(0, count, step))
