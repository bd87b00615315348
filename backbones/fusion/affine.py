"""Scale and shift of channels, as a norm in evaluation is, taken up by what comes before it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Affine = tuple[Tensor, Tensor]
"""What outputs are multiplied by and what is added then, (O,) float64 each."""


def affine_of(norm: nn.modules.batchnorm._BatchNorm) -> Affine:
    """Return what a norm with running statistics multiplies by and adds."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = torch.rsqrt(norm.running_var.double() + norm.eps)
    if norm.affine:
        scale = scale * norm.weight.detach().double()
    shift = -norm.running_mean.double() * scale
    return scale, shift + norm.bias.detach().double() if norm.affine else shift


def scaled(weight: Tensor, scale: Tensor, *, dim: int = 0) -> nn.Parameter:
    """Return weights for outputs that are `scale` (O,) times as large.

    Args:
        weight: (..., O, ...).
        scale: (O,) float64.
        dim: Where the outputs stand.
    """
    along = [1] * weight.ndim
    along[dim] = -1
    changed = (weight.detach().double() * scale.view(along)).to(weight)
    return nn.Parameter(changed, requires_grad=False)


def shifted(bias: Tensor | None, affine: Affine, *, like: Tensor) -> nn.Parameter:
    """Return the bias, (..., O), of an output that is scaled and shifted.

    Args:
        bias: Before that, or None for none.
        affine: Scale and shift.
        like: Has the type of the result.
    """
    scale, shift = affine
    changed = shift if bias is None else bias.detach().double() * scale + shift
    return nn.Parameter(changed.to(like), requires_grad=False)
