"""Mix the cells of a warehouse into kernels: where dynamic convolution spends what it costs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from backbones.methods.kernel_warehouse.partition import Share


class Assembly(nn.Module):
    """Mix cells into the kernels of a layer.

    Shape suffixes: N images, K cells, and of a kernel: S spatial positions, P and Q groups of
    outputs and inputs, o and i the outputs and inputs of a cell (i with its positions, if any).
    The mixtures stand in the order S, P, Q.

    Args:
        share: The layer's part of the warehouse.
    """

    cost_kind = "assembly"

    def __init__(self, share: Share) -> None:
        super().__init__()
        site = share.site
        self.grid = (share.positions, share.out_groups, share.in_groups)
        self.kernel = (site.out_channels, site.in_channels // site.groups, *site.kernel_size)
        self.size = math.prod(self.kernel)
        self.is_whole = share.mixtures == 1

    def forward(self, alpha: Tensor, cells: Tensor) -> Tensor:
        """Mix.

        Args:
            alpha: (N, mixtures, K) weight of each cell.
            cells: (cell outputs, K, cell inputs * height * width).

        Returns:
            (N, O, C / groups, k, k) kernels, each in channels-last order.
        """
        alpha_NPSQK = alpha.to(cells.dtype).reshape(alpha.shape[0], *self.grid, -1).transpose(1, 2)
        if torch.is_grad_enabled() and (alpha.requires_grad or cells.requires_grad):
            mixed_NPoSQi = _in_one_product(alpha_NPSQK, cells)
        else:
            mixed_NPoSQi = _by_outputs(alpha_NPSQK, cells)
        outputs, inputs, height, width = self.kernel
        if self.is_whole:
            return mixed_NPoSQi.reshape(-1, *self.kernel)
        by_position = mixed_NPoSQi.reshape(-1, outputs, height, width, inputs)
        return by_position.permute(0, 1, 4, 2, 3)


def _by_outputs(alpha_NPSQK: Tensor, cells_oKi: Tensor) -> Tensor:
    """One product for each output of a cell: the result is in kernel order where N and P are 1."""
    images, groups, positions, in_groups, _ = alpha_NPSQK.shape
    rows = alpha_NPSQK.reshape(1, -1, cells_oKi.shape[1])
    mixed = torch.bmm(rows.expand(len(cells_oKi), -1, -1), cells_oKi)
    mixed_oNPSQi = mixed.view(len(mixed), images, groups, positions, in_groups, -1)
    return mixed_oNPSQi.permute(1, 2, 0, 3, 4, 5)


def _in_one_product(alpha_NPSQK: Tensor, cells_oKi: Tensor) -> Tensor:
    """All outputs in one product, whose gradient needs no sum over products as large as itself."""
    cells_Koi = cells_oKi.transpose(0, 1)
    mixed = alpha_NPSQK.flatten(0, 3) @ cells_Koi.flatten(1)
    mixed_NPSQoi = mixed.view(*alpha_NPSQK.shape[:4], *cells_Koi.shape[1:])
    return mixed_NPSQoi.permute(0, 1, 4, 2, 3, 5)
