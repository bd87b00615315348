"""A linear layer that took up the norm and the activation behind it, for inference only.

On a CPU its matrix is laid out once as oneDNN computes with it: the library behind usual linear
layers has half its speed on processors of some makers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones.fusion.affine import Affine
from backbones.fusion.folded import Folded, taken_up
from backbones.fusion.post_op import post_op, takes_packed

_OPS = torch.ops.mkldnn
_FEWEST_ROWS = 8
"""Rows below which all work is reading the matrix, which the usual library does faster."""


class FoldedLinear(Folded, nn.Linear):
    """A linear layer, then scale and shift of each output, then an activation.

    Args:
        linear: The layer.
        affine: Scale and shift, or None for none.
        act: The activation, of a type in `post_op.ACTIVATIONS`, or None.
    """

    def __init__(
        self, linear: nn.Linear, affine: Affine | None = None, *, act: nn.Module | None = None
    ) -> None:
        weight, bias = taken_up(linear, affine)
        with torch.device("meta"):
            super().__init__(linear.in_features, linear.out_features, bias=bias is not None)
        self.weight = weight
        if bias is not None:
            self.bias = bias
        self.act = act or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., O)."""
        y: Tensor
        rows = x.numel() // self.in_features
        if rows < _FEWEST_ROWS or not takes_packed(x, self.weight):
            y = self.act(super().forward(x))
            return y
        if self._packed is None:
            self._packed = _OPS._reorder_linear_weight(self.weight, rows)
        y = _OPS._linear_pointwise(x, self._packed, self.bias, *post_op(self.act))
        return y
