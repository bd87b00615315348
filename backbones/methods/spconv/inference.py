"""SPConv without gradients on a CPU, where passes over maps cost more than products.

The norms scale and shift, and so do the weights of the sum: both together are two numbers for each
image and channel, and no map is normalised by itself. With the weights known, the two point-wise
convolutions are one with a kernel of the image's own: beta scale3 [P | 0] + gamma scale1 [0 | Q].
The weights are known before either is made, as the mean of a point-wise convolution is that of the
mean. Shape suffixes: N images, O output channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from backbones.methods.spconv.operator import SplitConv

_PART = 2**18
"""Numbers of a map (1 MiB in single precision) that are made and added up at a time."""
_HAS_ONEDNN = torch._C._has_mkldnn

Norms = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]
"""What each of the two norms multiplies by and adds."""
Terms = tuple[Tensor, Tensor, Tensor]
"""A map, a second one, and what the second is multiplied by before the two are added."""
Factors = tuple[Tensor, Tensor, Tensor]
"""What the two maps are multiplied by, and what is added."""


def infer(layer: SplitConv, x: Tensor) -> Tensor:
    """Apply a layer in evaluation mode, some images at a time, so that a cache holds their maps.

    Args:
        layer: The layer.
        x: (N, C, H, W); gradients are not recorded.

    Returns:
        (N, O, H', W') in the memory format of `x`.
    """
    positions = 1
    for size, stride in zip(x.shape[2:], layer.stride, strict=True):
        positions *= -(-size // stride)
    # a kernel of the image's own is worth its making where it is smaller than a map
    is_merged = layer.point_wise is not None and x.shape[1] <= positions and x.shape[0] > 0
    outputs = layer.group_wise.out_channels
    images = 1 if is_merged else max(1, _PART // (outputs * positions))
    terms = _merged if is_merged else _apart
    norms = _affine(layer.representative_norm), _affine(layer.redundant_norm)
    if x.shape[0] <= images:
        return torch.addcmul(*terms(layer, norms, x))
    whole = x.new_empty(0)
    for first in range(0, x.shape[0], images):
        part = slice(first, first + images)
        found = terms(layer, norms, x[part])
        if first == 0:
            whole = _room(found[0], like=x)
        torch.addcmul(*found, out=whole[part])
    return whole


def _merged(layer: SplitConv, norms: Norms, x: Tensor) -> Terms:
    """Convolve one image point by point with a kernel of its own."""
    assert layer.point_wise is not None
    pooled = layer.pool(x)
    three = layer.group_wise(x[:, : layer.representative])
    p, q = layer.point_wise.weight[:, :, 0, 0], layer.redundant_conv.weight[:, :, 0, 0]
    bias_O = layer.redundant_conv.bias
    assert bias_O is not None
    means = pooled.mean((2, 3))
    mean3 = three.mean((2, 3)) + functional.linear(means[:, : layer.representative], p)
    mean1 = functional.linear(means[:, layer.representative :], q, bias_O)
    scale3, scale1, shift = _factors(mean3, mean1, norms=norms, weighs=layer.weighs)
    kernel = torch.cat((scale3.t() * p, scale1.t() * q), dim=1)[:, :, None, None]
    bias = (shift + scale1 * bias_O)[0]
    y = _convolve_points(pooled, kernel.to(p.dtype), bias.to(p.dtype))
    return y, three, scale3.to(three.dtype)[:, :, None, None]


def _apart(layer: SplitConv, norms: Norms, x: Tensor) -> Terms:
    """Make both maps of some images."""
    pooled, r = layer.pool(x), layer.representative
    three = layer.group_wise(x[:, :r])
    if layer.point_wise is not None:
        three.add_(_convolve_points(pooled[:, :r], layer.point_wise.weight))
    conv = layer.redundant_conv
    one = _convolve_points(pooled[:, r:], conv.weight, conv.bias)
    found = _factors(three.mean((2, 3)), one.mean((2, 3)), norms=norms, weighs=layer.weighs)
    scale3, scale1, shift = (each.to(three.dtype)[:, :, None, None] for each in found)
    return torch.addcmul(shift, three, scale3), one, scale1


def _factors(mean3_NO: Tensor, mean1_NO: Tensor, *, norms: Norms, weighs: bool) -> Factors:
    """Merge the norms with the weights of the sum, (N or 1, O) each."""
    (scale3, shift3), (scale1, shift1) = norms
    if not weighs:
        return scale3, scale1, shift3 + shift1
    beta = torch.sigmoid(scale3 * mean3_NO + shift3 - (scale1 * mean1_NO + shift1))
    return beta * scale3, (1 - beta) * scale1, torch.lerp(shift1, shift3, beta)


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return what a norm with running statistics multiplies by and adds, (1, O) each."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return scale[None], (norm.bias - norm.running_mean * scale)[None]


def _convolve_points(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    # torch itself leaves 1x1 convolutions of few images to a library that is half as fast on some
    # makers' processors
    single = x.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if not (_HAS_ONEDNN and single):
        return functional.conv2d(x, weight, bias)
    return torch.mkldnn_convolution(x, weight, bias, (0, 0), (1, 1), (1, 1), 1)


def _room(y: Tensor, *, like: Tensor) -> Tensor:
    """Return an empty map for all images of `like`, each as `y`."""
    layout = torch.contiguous_format
    if like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous():
        layout = torch.channels_last
    return torch.empty((like.shape[0], *y.shape[1:]), dtype=y.dtype, memory_format=layout)
