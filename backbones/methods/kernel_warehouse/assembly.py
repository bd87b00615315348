"""Mix the cells of a warehouse into kernels: where dynamic convolution spends what it costs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbones.methods.kernel_warehouse.partition import Share, Warehouse
from backbones.products import linear

_ALL = slice(None)


class Assembly(nn.Module):
    """Mix cells into the kernels of a layer.

    Shape suffixes: N images, K cells, and of a kernel: S spatial positions, P and Q groups of
    outputs and inputs, o and i the outputs and inputs of a cell (i with its positions, if any).
    The mixtures stand in the order S, P, Q.

    Args:
        share: The layer's part of the warehouse.
        warehouse: The warehouse as planned.
    """

    cost_kind = "assembly"

    def __init__(self, share: Share, warehouse: Warehouse) -> None:
        super().__init__()
        site = share.site
        self.grid = (share.positions, share.out_groups, share.in_groups)
        self.is_shared = warehouse.reach == warehouse.cells
        self.kernel = (site.in_channels // site.groups, *site.kernel_size)

    def forward(self, alpha: Tensor, cells: Tensor, *, outputs: slice = _ALL) -> Tensor:
        """Mix.

        Args:
            alpha: (N, mixtures, K) weight of each cell; where mixtures share none, (N, mixtures, b)
                of the b cells of each, which lie one mixture after the other among the K.
            cells: (cell outputs, cell inputs * height * width, K).
            outputs: Which outputs of a cell to make, in each group of outputs.

        Returns:
            (N, P * outputs, C / groups, k, k) kernels, in the memory order that costs no copy.
        """
        alpha_NSPQK = alpha.to(cells.dtype).view(alpha.shape[0], *self.grid, -1)
        # the gradient of a slice, be it of all, is a copy among zeros
        cells_oiK = cells if outputs == _ALL else cells[outputs]
        images, positions, out_groups, in_groups, _ = alpha_NSPQK.shape
        made = out_groups * cells_oiK.shape[0]
        if self.is_shared and out_groups == in_groups == 1 and images == 1:
            rows = alpha_NSPQK.flatten(0, 3)
            return linear(cells_oiK.flatten(0, 1), rows).view(1, made, *self.kernel)
        if self.is_shared:
            mixed_NSPQoi = _of_all(alpha_NSPQK, cells_oiK)
        else:
            cells_oiSPQK = cells_oiK.view(*cells_oiK.shape[:2], *self.grid, -1)
            mixed_NSPQoi = _of_own(alpha_NSPQK, cells_oiSPQK)
        mixed_NPoSQi = mixed_NSPQoi.permute(0, 2, 4, 1, 3, 5)
        if positions == 1:
            return mixed_NPoSQi.reshape(images, made, *self.kernel)
        channels, *size = self.kernel
        return mixed_NPoSQi.reshape(images, made, *size, channels).permute(0, 1, 4, 2, 3)


def _of_all(alpha_NSPQK: Tensor, cells_oiK: Tensor) -> Tensor:
    mixed = linear(alpha_NSPQK.flatten(0, 3), cells_oiK.flatten(0, 1))
    return mixed.view(*alpha_NSPQK.shape[:4], *cells_oiK.shape[:2])


def _of_own(alpha_NSPQK: Tensor, cells_oiSPQK: Tensor) -> Tensor:
    """One product for each mixture."""
    alpha_MNK = alpha_NSPQK.permute(1, 2, 3, 0, 4).flatten(0, 2)
    cells_MKoi = cells_oiSPQK.permute(2, 3, 4, 5, 0, 1).flatten(0, 2)
    mixed = torch.bmm(alpha_MNK, cells_MKoi.flatten(2))
    grid = alpha_NSPQK.shape[1:4]
    return mixed.view(*grid, alpha_NSPQK.shape[0], *cells_MKoi.shape[2:]).permute(3, 0, 1, 2, 4, 5)
