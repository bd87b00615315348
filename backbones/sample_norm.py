"""Batch normalisation of vectors that bears a batch of one, for attention branches and heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class SampleNorm(nn.BatchNorm1d):
    """Batch normalisation that takes its running statistics for a batch of one.

    In training one sample has no variance: released code fails there. Such a batch leaves the
    statistics as they are.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, H)."""
        if self.training and x.shape[0] == 1:
            return functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(x)

    def fused(self) -> nn.Module:
        """Return the usual norm, which this is in evaluation mode; it shares all numbers."""
        with torch.device("meta"):
            norm = nn.BatchNorm1d(self.num_features, self.eps)
        norm.weight, norm.bias = self.weight, self.bias
        norm.running_mean, norm.running_var = self.running_mean, self.running_var
        norm.num_batches_tracked = self.num_batches_tracked
        return norm
