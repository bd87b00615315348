"""Mix the cells of a warehouse into kernels: where dynamic convolution spends what it costs."""

from __future__ import annotations

from torch import Tensor, nn

from backbones.methods.kernel_warehouse.partition import Share
from backbones.products import linear

_ALL = slice(None)


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
        self.unit = site.out_channels // share.out_groups
        self.kernel = (site.in_channels // site.groups, *site.kernel_size)

    def forward(self, alpha: Tensor, cells: Tensor, *, outputs: slice = _ALL) -> Tensor:
        """Mix.

        Args:
            alpha: (N, mixtures, K) weight of each cell.
            cells: (cell outputs, cell inputs * height * width, K).
            outputs: Which outputs to make: whole multiples of a cell's, or some within one.

        Returns:
            (N, outputs, C / groups, k, k) kernels, in the memory order that costs no copy.
        """
        groups, within = self._place(outputs)
        alpha_NSPQK = alpha.to(cells.dtype).view(alpha.shape[0], *self.grid, -1)[:, :, groups]
        cells_oiK = cells[within]
        rows, columns = alpha_NSPQK.flatten(0, 3), cells_oiK.flatten(0, 1)
        images, positions, out_groups, in_groups, _ = alpha_NSPQK.shape
        made = out_groups * cells_oiK.shape[0]
        if out_groups == in_groups == 1 and images == 1:
            return linear(columns, rows).view(1, made, *self.kernel)
        mixed_NSPQoi = linear(rows, columns).view(*alpha_NSPQK.shape[:4], *cells_oiK.shape[:2])
        mixed_NPoSQi = mixed_NSPQoi.permute(0, 2, 4, 1, 3, 5)
        if positions == 1:
            return mixed_NPoSQi.reshape(images, made, *self.kernel)
        channels, *size = self.kernel
        return mixed_NPoSQi.reshape(images, made, *size, channels).permute(0, 1, 4, 2, 3)

    def _place(self, outputs: slice) -> tuple[slice, slice]:
        """Return which groups of outputs, and which outputs of their cells."""
        first, last, _ = outputs.indices(self.grid[1] * self.unit)
        group = first // self.unit
        if last - first >= self.unit:
            return slice(group, last // self.unit), _ALL
        return slice(group, group + 1), slice(first - group * self.unit, last - group * self.unit)
