"""Apply one kernel per image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from backbones.sites import Pair


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
    if kernels.shape[-2:] == (1, 1) and padding == (0, 0) and groups == 1 and x.shape[0] > 1:
        return _pointwise(x[:, :, :: stride[0], :: stride[1]], kernels[..., 0, 0])
    if x.device.type == "cpu" and groups == 1 and not torch.compiler.is_compiling():
        # many small groups are slow here, and each of these products is large enough by itself
        maps = [
            functional.conv2d(image, kernel, None, stride, padding, dilation)
            for image, kernel in zip(torch.split(x, 1), kernels.unbind(), strict=True)
        ]
        y = maps[0] if len(maps) == 1 else torch.cat(maps)
    else:
        y = _grouped(x, kernels, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return y.contiguous(memory_format=_memory_format(x))


def _memory_format(x: Tensor) -> torch.memory_format:
    if x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
        return torch.contiguous_format
    return torch.channels_last


def _pointwise(x: Tensor, kernels_NOC: Tensor) -> Tensor:
    """A 1x1 convolution is one matrix product per image, in the memory format of the input."""
    height, width = x.shape[-2:]
    if _memory_format(x) is torch.channels_last:
        y = x.permute(0, 2, 3, 1).flatten(1, 2) @ kernels_NOC.transpose(1, 2)
        return y.view(y.shape[0], height, width, -1).permute(0, 3, 1, 2)
    return (kernels_NOC @ x.flatten(2)).view(*kernels_NOC.shape[:2], height, width)


def _grouped(
    x: Tensor, kernels: Tensor, *, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Tensor:
    """All images side by side as the groups of one convolution."""
    images, outputs = kernels.shape[:2]
    y = functional.conv2d(
        x.reshape(1, -1, *x.shape[2:]),
        kernels.flatten(0, 1).contiguous(),
        None,
        stride,
        padding,
        dilation,
        images * groups,
    )
    return y.view(images, outputs, *y.shape[2:])
