"""Deformable convolution, with a mask (v2) and without (v1), forward and backward.

Offsets come as (y, x) for each tap of the kernel, in mmcv as in torchvision. mmcv's buffers for
columns and ones stay empty.
"""

from __future__ import annotations

from typing import Any

import torch
import torchvision  # noqa: F401 - its import registers torch.ops.torchvision
from torch import Tensor

from detection.ops.precision import wide


def deform_conv_forward(
    features: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    **geometry: Any,
) -> None:
    """Fill `output`, (N, O, H', W').

    Args:
        features: (N, C, H, W).
        weight: (O, C / group, kH, kW).
        offset: (N, 2 * deformable_group * kH * kW, H', W').
        output: (N, O, H', W').
        columns: Not used.
        ones: Not used.
        geometry: mmcv's names: ``dH, dW, padH, padW, dilationH, dilationW, group,
            deformable_group``; others are not used.
    """
    bias = weight.new_zeros(len(weight))
    output.copy_(_forward(features, weight, offset, offset, bias, *_plain(geometry), False))


def deform_conv_backward_input(
    features: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **geometry: Any,
) -> None:
    """Fill `grad_input` and `grad_offset`; see `deform_conv_forward`."""
    bias = weight.new_zeros(len(weight))
    found = _backward(grad_output, features, weight, offset, offset, bias, *_plain(geometry), False)
    grad_input.copy_(found[0])
    grad_offset.copy_(found[2])


def deform_conv_backward_parameters(
    features: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    *,
    scale: float,
    **geometry: Any,
) -> None:
    """Fill `grad_weight`, times `scale`; see `deform_conv_forward`."""
    bias = grad_weight.new_zeros(len(grad_weight))
    # the gradient of the weights depends on their shape only
    found = _backward(
        grad_output, features, grad_weight, offset, offset, bias, *_plain(geometry), False
    )
    grad_weight.copy_(found[1] * scale)


def modulated_deform_conv_forward(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    *,
    with_bias: bool,
    **geometry: Any,
) -> None:
    """Fill `output`, (N, O, H', W').

    Args:
        features: (N, C, H, W).
        weight: (O, C / group, kH, kW).
        bias: (O,), or anything where `with_bias` is False.
        ones: Not used.
        offset: (N, 2 * deformable_group * kH * kW, H', W').
        mask: (N, deformable_group * kH * kW, H', W').
        output: (N, O, H', W').
        columns: Not used.
        with_bias: Whether `bias` is added.
        geometry: mmcv's names: ``stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w,
            group, deformable_group``; others are not used.
    """
    bias = bias if with_bias else weight.new_zeros(len(weight))
    output.copy_(_forward(features, weight, offset, mask, bias, *_modulated(geometry), True))


def modulated_deform_conv_backward(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    *,
    with_bias: bool,
    **geometry: Any,
) -> None:
    """Fill the five gradients; see `modulated_deform_conv_forward`."""
    zeros = weight.new_zeros(len(weight))
    found = _backward(
        grad_output, features, weight, offset, mask, zeros, *_modulated(geometry), True
    )
    for buffer, gradient in zip(
        (grad_input, grad_weight, grad_offset, grad_mask), found, strict=False
    ):
        buffer.copy_(gradient)
    if with_bias:
        grad_bias.copy_(found[4])


def _plain(geometry: dict[str, Any]) -> tuple[int, ...]:
    names = ("dH", "dW", "padH", "padW", "dilationH", "dilationW", "group", "deformable_group")
    return tuple(geometry[name] for name in names)


def _modulated(geometry: dict[str, Any]) -> tuple[int, ...]:
    ends = ("h", "w")
    names = [f"{kind}_{end}" for kind in ("stride", "pad", "dilation") for end in ends]
    return tuple(geometry[name] for name in (*names, "group", "deformable_group"))


def _forward(*arguments: Any) -> Tensor:
    """Convolve: features, weight, offset, mask, bias, eight numbers, whether the mask counts."""
    found: Tensor = torch.ops.torchvision.deform_conv2d(*map(_wide, arguments))
    return found


def _backward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return gradients of features, weight, offset, mask and bias; the output's comes first."""
    found: tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
    found = torch.ops.torchvision._deform_conv2d_backward(*map(_wide, arguments))
    return found


def _wide(argument: Any) -> Any:
    return wide(argument) if isinstance(argument, Tensor) else argument
