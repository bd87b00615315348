"""The modules of KernelWarehouse.

A `Warehouse` stands as a submodule in *each* layer that draws from it, one and the same object:
`parameters()` names its cells once, `.to`, `load_state_dict` and a deep copy of the network keep it
shared, and freezing a stage freezes the cells that the stage uses. A state dict names the cells
under every layer (one storage); a deep copy of a single layer takes the warehouse along.
`temperature` is no state: a network that is built or loaded has temperature 0, until `anneal` sets
it.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from backbones.method import Replacements
from backbones.methods.kernel_warehouse import partition as plans
from backbones.methods.kernel_warehouse.assembly import Assembly
from backbones.methods.kernel_warehouse.attention import Attention
from backbones.methods.kernel_warehouse.settings import Settings
from backbones.per_image import convolve
from backbones.sites import Site

_CACHED = 2**20
"""Numbers of assembled kernels (4 MiB in single precision) that are made before they are used."""


class Warehouse(nn.Module):
    """Cells that the layers of a group share.

    Args:
        part: The warehouse as planned.
        settings: The method's settings.

    Attributes:
        cells: (cell outputs, n, cell inputs * height * width). Outputs stand first so that one
            product over all of them leaves kernels in channels-last order without a copy; three
            dimensions, because a change of memory format of the network takes four for a map.
        temperature: Weight of the start-up assignment in the attention of every layer that uses
            these cells, 0 to 1.
    """

    def __init__(self, part: plans.Warehouse, settings: Settings) -> None:
        super().__init__()
        cell = part.cell
        self.cells = nn.Parameter(
            torch.empty(cell.out_channels, part.cells, cell.size // cell.out_channels)
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
                self.cells[:, first : first + count].normal_(0, std)

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


class _Layer(nn.Module, abc.ABC):
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

    def attend(self, pooled: Tensor) -> Tensor:
        """Return (N, mixtures, n), the weight of each cell, for (N, C) means of the input."""
        alpha: Tensor = self.attention(pooled, temperature=self.warehouse.temperature)
        return alpha

    def kernels(self, alpha: Tensor) -> Tensor:
        """Return (N, O, C / groups, k, k) for (N, mixtures, n)."""
        kernels: Tensor = self.assembly(alpha, self.warehouse.cells)
        return kernels

    def apply_kernels(self, x: Tensor, alpha: Tensor) -> Tensor:
        """Apply (N, mixtures, n) weights of cells to (N, ...) inputs.

        Kernels are made for as many images at a time as a cache can hold. Where gradients are
        recorded all are kept anyway, an accelerator wants large products, and a tracer no loop.
        """
        images = max(1, _CACHED // self.assembly.size)
        is_plain = x.device.type == "cpu" and not torch.is_grad_enabled()
        if torch.compiler.is_compiling() or not is_plain or x.shape[0] <= images:
            return self.product(x, self.kernels(alpha))
        parts = zip(torch.split(x, images), torch.split(alpha, images), strict=True)
        return torch.cat([self.product(some, self.kernels(weights)) for some, weights in parts])

    @abc.abstractmethod
    def product(self, x: Tensor, kernels: Tensor) -> Tensor:
        """Apply (N, O, C / groups, k, k) kernels to (N, ...) inputs."""

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

    def product(self, x: Tensor, kernels: Tensor) -> Tensor:
        """Convolve (N, C, H, W)."""
        return convolve(
            x,
            kernels,
            stride=self.site.stride,
            padding=self.site.padding,
            dilation=self.site.dilation,
            groups=self.site.groups,
        )


class KernelWarehouseLinear(_Layer):
    """A linear layer with a matrix for each image, as a convolution over its tokens."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, ..., C) to (N, ..., O); matrices depend on the mean of x over the tokens."""
        tokens = x.unsqueeze(1) if x.ndim == 2 else x.flatten(1, -2)
        y = self.apply_kernels(tokens, self.attend(tokens.mean(1))).view(*x.shape[:-1], -1)
        return y if self.bias is None else y + self.bias.to(y.dtype)

    def product(self, x: Tensor, kernels: Tensor) -> Tensor:
        """Multiply (N, tokens, C)."""
        return x @ kernels.flatten(2).transpose(1, 2)


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
