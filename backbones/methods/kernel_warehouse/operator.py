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
from backbones.methods.kernel_warehouse.assembly import Assembly
from backbones.methods.kernel_warehouse.attention import Attention
from backbones.methods.kernel_warehouse.settings import Settings
from backbones.per_image import convolve_in_parts
from backbones.schedule import linear_rest
from backbones.sites import Site

_ROWS = 72
"""Mixtures of several images that are made at once: with fewer, reading the cells takes longer."""


class Warehouse(nn.Module):
    """Cells that the layers of a group share.

    Args:
        part: The warehouse as planned.
        settings: The method's settings.

    Attributes:
        cells: (cell outputs, cell inputs * height * width, n). A number of all cells lies together,
            so that one product serves any number of mixtures at the full rate of the memory; three
            dimensions, because a change of memory format of the network takes four for a map.
        temperature: Weight of the start-up assignment in the attention of every layer that uses
            these cells, 0 to 1.
    """

    def __init__(self, part: plans.Warehouse, settings: Settings) -> None:
        super().__init__()
        cell = part.cell
        self.cells = nn.Parameter(
            torch.empty(cell.out_channels, cell.size // cell.out_channels, part.cells)
        )
        self.temperature = 0.0
        self.initial_temperature = settings.temperature if settings.startup != "none" else 0.0
        self.temperature_epochs = settings.temperature_epochs
        self._fan_out = cell.out_channels * cell.height * cell.width
        self._owned = [(share.first, share.owned) for share in part.shares]
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the cells of each owner as one kernel's outputs: Kaiming normal over the outputs."""
        with torch.no_grad():
            for first, count in self._owned:
                std = math.sqrt(2 / max(count * self._fan_out, 1))
                self.cells[..., first : first + count].normal_(0, std)

    def anneal(self, *, step: int, steps_per_epoch: int) -> None:
        """Set the temperature of a training step, before its forward pass.

        It falls linearly from `temperature` of the settings to 0 at the end of
        `temperature_epochs`.

        Args:
            step: Micro-batches before this one, in all epochs.
            steps_per_epoch: Micro-batches in an epoch.
        """
        rest = linear_rest(
            step=step, steps_per_epoch=steps_per_epoch, epochs=self.temperature_epochs
        )
        self.temperature = self.initial_temperature * rest

    def extra_repr(self) -> str:
        """Show the shape of the cells."""
        return " x ".join(map(str, self.cells.shape))


class _Layer(nn.Module):
    """What convolution and linear layer share: kernels from the pooled input."""

    def __init__(
        self, share: plans.Share, part: plans.Warehouse, *, warehouse: Warehouse, settings: Settings
    ) -> None:
        super().__init__()
        self.site = share.site
        self.warehouse = warehouse
        self.attention = Attention(share, part, settings)
        self.assembly = Assembly(share, part)
        self.bias = nn.Parameter(torch.empty(share.site.out_channels)) if share.site.bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the bias to 0; warehouse and attention draw their own parameters."""
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def attend(self, pooled: Tensor) -> Tensor:
        """Return (N, mixtures, n), the weight of each cell in reach, for (N, C) means."""
        alpha: Tensor = self.attention(pooled, temperature=self.warehouse.temperature)
        return alpha

    def kernels(self, alpha: Tensor, *, outputs: slice = slice(None)) -> Tensor:
        """Return (N, groups of outputs * outputs, C / groups, k, k) for (N, mixtures, n)."""
        kernels: Tensor = self.assembly(alpha, self.warehouse.cells, outputs=outputs)
        return kernels

    def apply_kernels(self, x: Tensor, alpha: Tensor) -> Tensor:
        """Convolve (N, C, H, W) with kernels of (N, mixtures, n) weights."""
        positions, runs, in_groups = self.assembly.grid

        def kernels(images: slice, outputs: slice) -> Tensor:
            return self.kernels(alpha[images], outputs=outputs)

        return convolve_in_parts(
            x,
            kernels,
            site=self.site,
            runs=runs,
            together=max(1, _ROWS // (positions * runs * in_groups)),
        )

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
        y = self.apply_kernels(x, self.attend(x.mean((2, 3))))
        return y if self.bias is None else y + self.bias.to(y.dtype).view(-1, 1, 1)


class KernelWarehouseLinear(_Layer):
    """A linear layer with a matrix for each image, as a convolution over its tokens."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, ..., C) to (N, ..., O); matrices depend on the mean of x over the tokens."""
        tokens = x.unsqueeze(1) if x.ndim == 2 else x.flatten(1, -2)
        map_of_tokens = tokens.transpose(1, 2).unsqueeze(3)
        y = self.apply_kernels(map_of_tokens, self.attend(tokens.mean(1)))
        y = y.squeeze(3).transpose(1, 2).reshape(*x.shape[:-1], -1)
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
