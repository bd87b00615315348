"""Address shift, channel shift and point-wise group convolution in one kernel launch (Triton).

The shifts are arithmetic on the addresses that a matrix product loads from, so they cost nothing.
The gradient of the input is the product with the transposed weight, stored to the shifted
addresses; that of the weight loads as the forward pass does. Each is one launch. Imported only
where the kernels run: on a GPU, or on a CPU under ``TRITON_INTERPRET=1``.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from backbones.shift import STILL
from backbones.shift.kernels import forward_kernel, input_kernel, weight_kernel
from backbones.shift.map import memory_format
from backbones.shift.mixing import Mixing

_SMALLEST = 16
"""Side of the smallest tile that tensor cores multiply."""
_PIXELS = 64
PROGRAMS = 256
"""Programs that the gradient of a weight is divided among, for one that is small."""


@dataclass(frozen=True)
class Tiles:
    """Outputs, channels and pixels of a tile."""

    out: int
    channels: int
    pixels: int = _PIXELS

    @classmethod
    def of(cls, mixing: Mixing) -> Tiles:
        """Choose powers of two that hold a group, or a part of it."""
        sides = (mixing.outputs // mixing.groups, mixing.shift.channels // mixing.groups)
        out, channels = (max(_SMALLEST, min(64, triton.next_power_of_2(side))) for side in sides)
        return cls(out, min(channels, 32))


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, mixing: Mixing) -> Tensor:
    """Convolve a shifted map, with gradients where they are recorded.

    Args:
        x: (N, C, H, W).
        weight: (O, C / groups, 1, 1).
        bias: (O) or none.
        mixing: Shift, groups and stride.

    Returns:
        (N, O, H', W').
    """
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(dtype), weight.to(dtype)
    learns = x.requires_grad or weight.requires_grad
    if torch.is_grad_enabled() and (learns or (bias is not None and bias.requires_grad)):
        y: Tensor = _Convolve.apply(x, weight, mixing)
        return y if bias is None else y + bias.to(y.dtype).view(-1, 1, 1)
    y = _room(x, mixing)
    forward(x, weight, bias, mixing, out=y)
    return y


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, mixing: Mixing) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.mixing = mixing
        y = _room(x, mixing)
        forward(x, weight, None, mixing, out=y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, _ = ctx.needs_input_grad
        return (
            input_gradient(grad, weight, ctx.mixing, like=x) if wants_x else None,
            weight_gradient(grad, x, ctx.mixing, like=weight) if wants_weight else None,
            None,
        )


def forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mixing: Mixing,
    *,
    out: Tensor,
    relu: bool = False,
) -> None:
    """Write a convolution of a shifted map, without gradients: one launch.

    Args:
        x: (N, C, H, W), of any strides.
        weight: (O, C / groups, 1, 1).
        bias: (O) or none, added in single precision.
        mixing: Shift, groups and stride.
        out: (N, O, H', W'), of any strides.
        relu: Whether negative numbers become zeros.
    """
    tiles, pixels = Tiles.of(mixing), out.shape[0] * out.shape[2] * out.shape[3]
    rows = mixing.groups * triton.cdiv(mixing.outputs // mixing.groups, tiles.out)
    if pixels:
        with _on(x):
            forward_kernel[triton.cdiv(pixels, tiles.pixels), rows](
                x,
                weight.contiguous(),
                x if bias is None else bias,
                out,
                pixels,
                *_sizes_and_strides(x, out),
                **constants(mixing, tiles),
                HAS_BIAS=bias is not None,
                RELU=relu,
            )


def input_gradient(grad: Tensor, weight: Tensor, mixing: Mixing, *, like: Tensor) -> Tensor:
    """Return the gradient of the input: one launch.

    Args:
        grad: (N, O, H', W').
        weight: (O, C / groups, 1, 1).
        mixing: Shift, groups and stride.
        like: The input.
    """
    found = torch.empty_like(like)
    tiles, pixels = Tiles.of(mixing), like.shape[0] * like.shape[2] * like.shape[3]
    rows = mixing.groups * triton.cdiv(mixing.shift.channels // mixing.groups, tiles.channels)
    if pixels:
        with _on(grad):
            input_kernel[triton.cdiv(pixels, tiles.pixels), rows](
                found,
                weight.contiguous(),
                grad,
                pixels,
                *_sizes_and_strides(found, grad),
                **constants(mixing, tiles),
            )
    return found


def weight_gradient(grad: Tensor, x: Tensor, mixing: Mixing, *, like: Tensor) -> Tensor:
    """Return the gradient of the weight: one launch.

    Args:
        grad: (N, O, H', W').
        x: (N, C, H, W).
        mixing: Shift, groups and stride.
        like: The weight, (O, C / groups, 1, 1).
    """
    tiles, pixels = Tiles.of(mixing), grad.shape[0] * grad.shape[2] * grad.shape[3]
    if not pixels:
        return torch.zeros_like(like)
    found = torch.empty_like(like, memory_format=torch.contiguous_format)
    groups = mixing.groups
    rows = groups * triton.cdiv(mixing.outputs // groups, tiles.out)
    rows *= triton.cdiv(mixing.shift.channels // groups, tiles.channels)
    wanted = max(1, PROGRAMS // rows)
    splits = triton.next_power_of_2(min(wanted, triton.cdiv(pixels, 4 * tiles.pixels)))
    shares = rows * splits * tiles.out * tiles.channels if splits > 1 else 0
    with _on(grad):
        weight_kernel[splits, rows](
            x,
            found,
            grad,
            torch.empty(shares, dtype=torch.float32, device=x.device),
            _drawn(x.device, rows),
            pixels,
            *_sizes_and_strides(x, grad),
            **constants(mixing, tiles),
            SPLITS=splits,
        )
    return found


_tickets: dict[tuple[torch.device, int], Tensor] = {}


def _drawn(device: torch.device, count: int) -> Tensor:
    """Return zeros for counting, which every launch leaves as zeros, one set for each stream."""
    stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
    known = _tickets.get((device, stream))
    if known is None or known.numel() < count:
        size = max(1024, count)
        known = _tickets[device, stream] = torch.zeros(size, dtype=torch.int32, device=device)
    return known


def _sizes_and_strides(x: Tensor, y: Tensor) -> tuple[int, ...]:
    return (*x.shape[2:], *y.shape[2:], *x.stride(), *y.stride())


def constants(mixing: Mixing, tiles: Tiles) -> dict[str, Any]:
    """Return what the kernels are compiled for, by the names of their arguments."""
    shift = mixing.shift
    length = shift.channels // max(1, len(shift.directions))
    directions = shift.directions if length else ()
    codes = [3 * (dy + 1) + dx + 1 for dy, dx in (*directions, STILL)]
    return {
        "C": shift.channels,
        "CG": shift.channels // mixing.groups,
        "OG": mixing.outputs // mixing.groups,
        "DISTANCE": shift.distance,
        "LENGTH": max(1, length),
        "COUNT": len(directions),
        "CODES": sum(code << 4 * rank for rank, code in enumerate(codes)),
        "WRAP": shift.boundary == "wrap",
        "SY": mixing.stride[0],
        "SX": mixing.stride[1],
        "PRECISION": "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32",
        "BO": tiles.out,
        "BK": tiles.channels,
        "BP": tiles.pixels,
        "enable_fp_fusion": True,
    }


def _room(x: Tensor, mixing: Mixing) -> Tensor:
    shape = (x.shape[0], mixing.outputs, *mixing.size(x.shape[2], x.shape[3]))
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format(x))


def _on(x: Tensor) -> AbstractContextManager[Any]:
    """Launch where the numbers are, not where the process happens to be."""
    return torch.cuda.device(x.device) if x.device.type == "cuda" else nullcontext()
