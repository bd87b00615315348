"""Matrix products on the library that is fastest where they run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional

_HAS_ONEDNN = torch._C._has_mkldnn
_FEWEST = 2**21
"""Multiply-adds below which the call of oneDNN takes longer than it saves."""
_FEW_ROWS = 4
"""Rows up to which a product takes no longer than reading the large matrix."""


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """Multiply by a transposed matrix.

    Single-precision products on a CPU go to oneDNN, as convolutions do: the library behind
    `torch.matmul` has half its speed on processors of some makers, and a fraction of it for a few
    rows times very many.

    Args:
        x: (rows, C).
        weight: (O, C).

    Returns:
        (rows, O), contiguous.
    """
    if not _is_for_onednn(x, weight):
        return functional.linear(x, weight)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        recorded: Tensor = _Linear.apply(x, weight)
        return recorded
    if x.shape[0] <= _FEW_ROWS:
        # the usual library reads the large matrix faster, as long as it is the left one
        return (weight @ x.t()).t().contiguous()
    # rows at a distance would go to oneDNN's slow reference
    w = weight if weight.t().is_contiguous() else weight.contiguous()
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x.contiguous(), w, None, "none", [], "")
    return y


class _Linear(torch.autograd.Function):
    """The same with gradients, each of which is such a product again."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return linear(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        return (
            linear(grad, weight.t()) if ctx.needs_input_grad[0] else None,
            linear(grad.t(), x.t()) if ctx.needs_input_grad[1] else None,
        )


def is_plain(x: Tensor) -> bool:
    """Whether a loop over parts may be made: on a CPU, no gradient recorded, nothing traced.

    Where gradients are recorded all parts are kept anyway, an accelerator wants large products, and
    a tracer no loop.
    """
    return not torch.is_grad_enabled() and _is_eager_on_cpu(x)


def _is_eager_on_cpu(x: Tensor) -> bool:
    return (
        x.device.type == "cpu" and not torch.compiler.is_compiling() and not torch._C._is_tracing()
    )


def _is_for_onednn(x: Tensor, weight: Tensor) -> bool:
    return x.numel() * weight.shape[0] >= _FEWEST and onednn_takes(x, weight)


def onednn_takes(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN may be called for these by name: single precision, on a CPU, not traced."""
    return (
        x.dtype == weight.dtype == torch.float32
        and _is_eager_on_cpu(x)
        and not torch.is_autocast_enabled("cpu")
        and _HAS_ONEDNN
        and bool(torch.backends.mkldnn.enabled)
    )
