"""In which precision the operators count."""

from __future__ import annotations

import torch
from torch import Tensor


def wide(tensor: Tensor) -> Tensor:
    """Return `tensor` in single precision when it has less; coordinates need it."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
