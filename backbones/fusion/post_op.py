"""Activations that oneDNN applies to a result while it is at hand, and where it is asked."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones.products import is_plain

_HAS_ONEDNN = torch._C._has_mkldnn
_POST_OPS: dict[type[nn.Module], tuple[str, list[float], str]] = {
    nn.Identity: ("none", [], ""),
    nn.ReLU: ("relu", [], ""),
    nn.ReLU6: ("hardtanh", [0.0, 6.0], ""),
    nn.SiLU: ("swish", [], ""),
    nn.Hardswish: ("hardswish", [], ""),
    nn.GELU: ("gelu", [], ""),
}

ACTIVATIONS = frozenset(_POST_OPS) - {nn.Identity}
"""Types of the activations that a folded layer can take up."""


def post_op(act: nn.Module) -> tuple[str, list[float], str]:
    """Return what oneDNN calls an activation: name, numbers, algorithm."""
    name, numbers, algorithm = _POST_OPS[type(act)]
    return name, numbers, act.approximate if isinstance(act, nn.GELU) else algorithm


def takes_packed(x: Tensor, weight: Tensor) -> bool:
    """Whether a layer may use its weights as oneDNN lays them out for this input."""
    return (
        is_plain(x)
        and x.dtype == torch.float32 == weight.dtype
        and x.numel() > 0
        and not torch.is_autocast_enabled("cpu")
        and _HAS_ONEDNN
        and bool(torch.backends.mkldnn.enabled)
    )
