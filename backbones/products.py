"""Matrix products on the library that is fastest where they run."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_HAS_ONEDNN = torch._C._has_mkldnn


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """Multiply by a transposed matrix.

    Single-precision products on a CPU go to oneDNN, as convolutions do, where no gradient is
    recorded: the library behind `torch.matmul` has half its speed on processors of some makers.

    Args:
        x: (rows, C).
        weight: (O, C).

    Returns:
        (rows, O), contiguous.
    """
    if _is_for_onednn(x, weight):
        # rows at a distance would go to oneDNN's slow reference
        w = weight if weight.t().is_contiguous() else weight.contiguous()
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x.contiguous(), w, None, "none", [], "")
        return y
    return functional.linear(x, weight)


def is_plain(x: Tensor) -> bool:
    """Whether a loop over parts may be made: on a CPU, no gradient recorded, nothing traced.

    Where gradients are recorded all parts are kept anyway, an accelerator wants large products, and
    a tracer no loop.
    """
    return (
        x.device.type == "cpu"
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and not torch._C._is_tracing()
    )


def _is_for_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        x.dtype == weight.dtype == torch.float32
        and x.numel() > 0
        and is_plain(x)
        and not torch.is_autocast_enabled("cpu")
        and _HAS_ONEDNN
        and bool(torch.backends.mkldnn.enabled)
    )
