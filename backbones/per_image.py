"""One kernel per image: mix it from a bank, apply it. What methods with dynamic kernels share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.sites import Pair, Site

_PART = 2**19
"""Numbers of kernels (2 MiB in single precision) that are made before they are used."""
_FEWEST_OUTPUTS = 128
"""Outputs below which a convolution loses more than the cache gains."""

KernelsOf = Callable[[slice, slice], Tensor]
"""From images and outputs to their kernels, (images, outputs, C / groups * k * k)."""


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


def convolve_in_parts(x: Tensor, kernels_of: KernelsOf, *, site: Site) -> Tensor:
    """Convolve each image with its own kernel, which is made shortly before.

    Without gradients on a CPU the kernels of some outputs of some images come at a time, so that a
    cache holds them until they are used. Where gradients are recorded all are kept anyway, an
    accelerator wants large products, and a tracer no loop.

    Args:
        x: (N, C, H, W), in either memory format.
        kernels_of: Makes kernels; is asked once for each.
        site: The convolution.

    Returns:
        (N, O, H', W'), in the memory format of `x`.
    """
    shape = (site.in_channels // site.groups, *site.kernel_size)
    layout = memory_format(x)
    if site.kernel_size != (1, 1) and _has_small_map(site):
        # kernels come in the usual format: what is smaller takes the format of the other
        x = x.contiguous()

    def maps(images: slice, outputs: slice) -> list[Tensor]:
        kernels = kernels_of(images, outputs)
        return _maps(
            x[images],
            kernels.view(*kernels.shape[:2], *shape),
            stride=site.stride,
            padding=site.padding,
            dilation=site.dilation,
            groups=site.groups,
        )

    is_plain = x.device.type == "cpu" and not torch.is_grad_enabled()
    if torch.compiler.is_compiling() or not is_plain:
        y = _join(maps(slice(None), slice(None)), dim=0)
    else:
        outputs, images = _part(site)
        some = list(_slices(x.shape[0], images))
        blocks = _slices(site.out_channels, outputs)
        y = _join([_join([m for i in some for m in maps(i, o)], dim=0) for o in blocks], dim=1)
    return y.contiguous(memory_format=layout)


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
    maps = _maps(x, kernels, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return _join(maps, dim=0).contiguous(memory_format=memory_format(x))


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


def _maps(
    x: Tensor, kernels: Tensor, *, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> list[Tensor]:
    """Return the maps of successive images, of one or more each."""
    is_pointwise = kernels.shape[-2:] == (1, 1) and padding == (0, 0) and groups == 1
    if is_pointwise and x.shape[0] > 1:
        return [_pointwise(x[:, :, :: stride[0], :: stride[1]], kernels[..., 0, 0])]
    if x.device.type == "cpu" and groups == 1 and not torch.compiler.is_compiling():
        # many small groups are slow here, and each of these products is large enough by itself
        return [
            functional.conv2d(image, kernel, None, stride, padding, dilation)
            for image, kernel in zip(torch.split(x, 1), kernels.unbind(), strict=True)
        ]
    images, outputs = kernels.shape[:2]
    # all images side by side as the groups of one convolution
    y = functional.conv2d(
        x.reshape(1, -1, *x.shape[2:]),
        kernels.flatten(0, 1).contiguous(),
        None,
        stride,
        padding,
        dilation,
        images * groups,
    )
    return [y.view(images, outputs, *y.shape[2:])]


def _pointwise(x: Tensor, kernels_NOC: Tensor) -> Tensor:
    """A 1x1 convolution is one matrix product per image, in the memory format of the input."""
    height, width = x.shape[-2:]
    if memory_format(x) is torch.channels_last:
        y = x.permute(0, 2, 3, 1).flatten(1, 2) @ kernels_NOC.transpose(1, 2)
        return y.view(y.shape[0], height, width, -1).permute(0, 3, 1, 2)
    return (kernels_NOC @ x.flatten(2)).view(*kernels_NOC.shape[:2], height, width)


def _fan_in(site: Site) -> int:
    return math.prod(site.kernel_size) * site.in_channels // site.groups


def _has_small_map(site: Site) -> bool:
    """Whether the map that comes in has fewer numbers than the kernel."""
    return site.in_channels * math.prod(site.in_size) < site.out_channels * _fan_in(site)


def _part(site: Site) -> Pair:
    """Return how many outputs of how many images are made at a time; groups stay together."""
    fan_in = _fan_in(site)
    outputs = site.out_channels
    if site.groups == 1:
        blocks = max(1, _PART // (fan_in * _FEWEST_OUTPUTS))
        outputs = min(outputs, blocks * _FEWEST_OUTPUTS)
    return outputs, max(1, _PART // (outputs * fan_in))


def _slices(count: int, step: int) -> Iterator[slice]:
    return (slice(first, first + step) for first in range(0, count, step))


def _join(parts: Sequence[Tensor], *, dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(tuple(parts), dim=dim)
