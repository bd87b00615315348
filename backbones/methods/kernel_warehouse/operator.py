"""The modules of KernelWarehouse.

A `Warehouse` stands as a submodule in *each* layer that draws from it, one and the same object:
`parameters()` names its cells once, `.to`, `load_state_dict` and a deep copy of the network keep it
shared, and freezing a stage freezes the cells that the stage uses. A state dict names the cells
under every layer (one storage); a deep copy of a single layer takes the warehouse along.
`temperature` is no state: a network that is built or loaded has temperature 0, until `anneal` sets
it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from backbones.method import Replacements
from backbones.methods.kernel_warehouse import partition as plans
from backbones.methods.kernel_warehouse.attention import Attention
from backbones.methods.kernel_warehouse.convolve import convolve
from backbones.methods.kernel_warehouse.settings import Settings
from backbones.site import Site


class Warehouse(nn.Module):
    """Cells that the layers of a group share.

    Args:
        part: The warehouse as planned.
        settings: The method's settings.

    Attributes:
        cells: (n, cell outputs, cell inputs, cell height, cell width).
        temperature: Weight of the start-up assignment in the attention of every layer that uses
            these cells, 0 to 1.
    """

    def __init__(self, part: plans.Warehouse, settings: Settings) -> None:
        super().__init__()
        cell = part.cell
        self.cells = nn.Parameter(
            torch.empty(part.cells, cell.out_channels, cell.in_channels, cell.height, cell.width)
        )
        self.temperature = 0.0
        self.initial_temperature = settings.temperature if settings.startup != "none" else 0.0
        self.temperature_epochs = settings.temperature_epochs
        self._owned = [(share.first, share.owned) for share in part.shares]
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the cells of each owner as one kernel's outputs: Kaiming normal over the outputs."""
        outputs, _, height, width = self.cells.shape[1:]
        with torch.no_grad():
            for first, count in self._owned:
                std = math.sqrt(2 / max(count * outputs * height * width, 1))
                self.cells[first : first + count].normal_(0, std)

    def anneal(self, *, step: int, steps_per_epoch: int) -> None:
        """Set the temperature of a training step, before its forward pass.

        It falls linearly from `temperature` of the settings to 0 at the end of
        `temperature_epochs`.

        Args:
            step: Micro-batches before this one, in all epochs.
            steps_per_epoch: Micro-batches in an epoch.
        """
        steps = self.temperature_epochs * steps_per_epoch
        left = max(0.0, (steps - step - 1) / steps) if steps else 0.0
        self.temperature = self.initial_temperature * left

    def extra_repr(self) -> str:
        """Show the shape of the cells."""
        return " x ".join(map(str, self.cells.shape))


class Assembly(nn.Module):
    """Mix cells into the kernels of a layer.

    Args:
        share: The layer's part of the warehouse.
    """

    cost_kind = "assembly"

    def __init__(self, share: plans.Share) -> None:
        super().__init__()
        site = share.site
        self.grid = (share.positions, share.out_groups, share.in_groups)
        self.kernel = (site.out_channels, site.in_channels // site.groups, *site.kernel_size)

    def forward(self, alpha_NMK: Tensor, cells: Tensor) -> Tensor:
        """Mix.

        Args:
            alpha_NMK: (N, mixtures, n) weight of each cell.
            cells: (n, cell outputs, cell inputs, cell height, cell width).

        Returns:
            (N, O, C / groups, k, k) kernels, contiguous.
        """
        # the mixtures stand in the order S positions, P output groups, Q input groups
        mixed = alpha_NMK.flatten(0, 1).to(cells.dtype) @ cells.flatten(1)
        w_NSPQoit = mixed.view(-1, *self.grid, *cells.shape[1:3], cells.shape[3] * cells.shape[4])
        return w_NSPQoit.permute(0, 2, 4, 3, 5, 1, 6).reshape(-1, *self.kernel)


class _Layer(nn.Module):
    """What convolution and linear layer share: kernels from the pooled input."""

    def __init__(
        self, share: plans.Share, part: plans.Warehouse, *, warehouse: Warehouse, settings: Settings
    ) -> None:
        super().__init__()
        self.site = share.site
        self.warehouse = warehouse
        self.attention = Attention(share, part, settings)
        self.assembly = Assembly(share)
        self.bias = nn.Parameter(torch.zeros(share.site.out_channels)) if share.site.bias else None

    def kernels(self, pooled: Tensor) -> Tensor:
        """Return (N, O, C / groups, k, k) for (N, C) means of the input."""
        alpha = self.attention(pooled, temperature=self.warehouse.temperature)
        kernels: Tensor = self.assembly(alpha, self.warehouse.cells)
        return kernels

    def extra_repr(self) -> str:
        """Show the shape of the layer."""
        site = self.site
        size = "x".join(map(str, site.kernel_size))
        return (
            f"{site.in_channels}, {site.out_channels}, {size}, {site.stride}, groups={site.groups}"
        )


class KernelWarehouseConv2d(_Layer):
    """A convolution with a kernel for each image, mixed from the cells of a warehouse."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, O, H', W'); kernels depend on the mean of x over positions."""
        y = convolve(
            x,
            self.kernels(x.mean((2, 3))),
            stride=self.site.stride,
            padding=self.site.padding,
            dilation=self.site.dilation,
            groups=self.site.groups,
        )
        return y if self.bias is None else y + self.bias.to(y.dtype).view(-1, 1, 1)


class KernelWarehouseLinear(_Layer):
    """A linear layer with a matrix for each image, as a convolution over its tokens."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, ..., C) to (N, ..., O); matrices depend on the mean of x over the tokens."""
        tokens = x.unsqueeze(1) if x.ndim == 2 else x.flatten(1, -2)
        matrix_NOC = self.kernels(tokens.mean(1)).flatten(2)
        y = (tokens @ matrix_NOC.transpose(1, 2)).view(*x.shape[:-1], -1)
        return y if self.bias is None else y + self.bias.to(y.dtype)


def plan(sites: Sequence[Site], settings: Settings) -> Replacements:
    """Build the layers for the sites that the method takes, and the warehouses that they share.

    Args:
        sites: Sites in the order in which the modules stand in the network; those not taken are
            left out.
        settings: The method's settings.

    Returns:
        Name of the site to its new module.

    Raises:
        SettingError: The budget or the cell ratios do not fit these layers.
    """
    replacements: dict[str, nn.Module] = {}
    for part in plans.partition(sites, settings):
        warehouse = Warehouse(part, settings)
        for share in part.shares:
            layer = KernelWarehouseLinear if share.site.kind == "linear" else KernelWarehouseConv2d
            replacements[share.site.name] = layer(
                share, part, warehouse=warehouse, settings=settings
            )
    return replacements
