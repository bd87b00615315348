"""Activations that oneDNN applies to a result while it is at hand, and where it is asked."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones.products import onednn_takes

_POST_OPS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.Identity: ("none", []),
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.SiLU: ("swish", []),
    nn.Hardswish: ("hardswish", []),
    nn.GELU: ("gelu", []),
}

ACTIVATIONS = frozenset(_POST_OPS) - {nn.Identity}
"""Types of the activations that a folded layer can take up."""


def post_op(act: nn.Module) -> tuple[str, list[float], str]:
    """Return what oneDNN calls an activation: name, numbers, algorithm."""
    name, numbers = _POST_OPS[type(act)]
    return name, numbers, act.approximate if isinstance(act, nn.GELU) else ""


def takes_packed(x: Tensor, weight: Tensor) -> bool:
    """Whether a layer may use its weights as oneDNN lays them out for this input."""
    return not torch.is_grad_enabled() and x.numel() > 0 and onednn_takes(x, weight)
