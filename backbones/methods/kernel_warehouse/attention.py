"""The attention of KernelWarehouse: how much of each cell a mixture takes, image by image.

Shape suffixes: N images, C channels of the input, H hidden, M mixtures of the layer, K cells of the
warehouse (K + 1 with the dummy cell, which always stands last).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from backbones.methods.kernel_warehouse.partition import Share, Warehouse
from backbones.methods.kernel_warehouse.settings import Settings
from backbones.methods.kernel_warehouse.startup import assignment
from backbones.sample_norm import SampleNorm

_SMALLEST_BASIS = 16
_EPSILON = 1e-3


class Attention(nn.Module):
    """Weigh every cell of the warehouse for every mixture of one layer.

    Args:
        share: The layer's part of the warehouse.
        warehouse: The warehouse as planned.
        settings: The method's settings.
    """

    startup: Tensor

    def __init__(self, share: Share, warehouse: Warehouse, settings: Settings) -> None:
        super().__init__()
        self.mixtures, self.cells = share.mixtures, warehouse.reach
        with_layer_norm = settings.attention_norm == "layer"
        self.reduce = nn.Linear(share.site.in_channels, share.hidden, bias=with_layer_norm)
        self.norm = nn.LayerNorm(share.hidden) if with_layer_norm else SampleNorm(share.hidden)
        self.act = nn.ReLU(inplace=True)
        self.logits = _logits(share, warehouse, settings)
        self.normalise = _NORMALISE[settings.attention]
        self.register_buffer("startup", torch.empty(self.mixtures, self.cells), persistent=False)
        # where nothing is shared, a mixture counts the cells of its own from 0
        own = 0 if warehouse.reach == warehouse.cells else warehouse.reach
        self._entries = [
            (mixture, cell - mixture * own, weight)
            for mixture, cell, weight in assignment(share, warehouse, settings)
        ]
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights (Kaiming normal over outputs, biases 0), fill in the start-up assignment."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm | nn.BatchNorm1d):
                module.reset_parameters()
            elif isinstance(module, FarLogits):
                nn.init.zeros_(module.offset)
        startup_MK = torch.zeros(self.mixtures, self.cells)
        for mixture, cell, weight in self._entries:
            startup_MK[mixture, cell] = weight
        with torch.no_grad():
            self.startup.copy_(startup_MK)

    def forward(self, pooled_NC: Tensor, *, temperature: float) -> Tensor:
        """Weigh the cells for each image.

        Args:
            pooled_NC: (N, C) mean of the layer's input over its positions.
            temperature: Weight of the start-up assignment, 0 to 1.

        Returns:
            (N, M, K) float32 (float64 for float64 input), of either sign.
        """
        hidden_NH = self.act(self.norm(self.reduce(pooled_NC)))
        z_NML = self.logits(hidden_NH).unflatten(1, (self.mixtures, self.cells + 1))
        # a sum of hundreds of absolute values plus 1e-3 does not fit half precision
        wide = z_NML if z_NML.dtype == torch.float64 else z_NML.float()
        alpha_NMK: Tensor = self.normalise(wide)[..., :-1]
        if temperature == 0:
            return alpha_NMK
        return (1 - temperature) * alpha_NMK + temperature * self.startup.to(alpha_NMK.dtype)


class FarLogits(nn.Module):
    """Logits whose part for cells of *other* layers passes through a small shared basis.

    Each mixture has its own numbers for the cells that the layer owns, for the basis and for the
    dummy cell; the basis is mapped to the remaining cells, which stand before and after the layer's
    own.

    Args:
        share: The layer's part of the warehouse.
        cells: Cells of the warehouse.
        ratio: Basis vectors over remaining cells (rho), at least 16 in number.
    """

    def __init__(self, share: Share, *, cells: int, ratio: float) -> None:
        super().__init__()
        far = cells - share.owned
        self.mixtures, self.first = share.mixtures, share.first
        basis = max(int(far * ratio), _SMALLEST_BASIS)
        self.sizes = (share.owned, basis, 1)
        self.near = nn.Linear(share.hidden, share.mixtures * sum(self.sizes), bias=False)
        self.far = nn.Linear(basis, far, bias=False)
        self.offset = nn.Parameter(torch.zeros(share.mixtures * (cells + 1)))

    def forward(self, hidden_NH: Tensor) -> Tensor:
        """Map (N, H) to logits (N, M * (K + 1))."""
        rows = self.near(hidden_NH).unflatten(1, (self.mixtures, -1))
        own, basis, dummy = rows.split(self.sizes, dim=-1)
        far = self.far(basis)
        z_NML = torch.cat((far[..., : self.first], own, far[..., self.first :], dummy), dim=-1)
        return z_NML.flatten(1) + self.offset


def _logits(share: Share, warehouse: Warehouse, settings: Settings) -> nn.Module:
    if settings.basis_ratio < 1 and warehouse.reach > share.owned:
        return FarLogits(share, cells=warehouse.cells, ratio=settings.basis_ratio)
    return nn.Linear(share.hidden, share.mixtures * (warehouse.reach + 1))


def contrasting(z: Tensor) -> Tensor:
    """Divide each row by the sum of its absolute values: attentions of either sign."""
    return z / (z.abs().sum(dim=-1, keepdim=True) + _EPSILON)


def softmax(z: Tensor) -> Tensor:
    """Softmax over each row, dummy cell included."""
    return z.softmax(dim=-1)


def unbounded(z: Tensor) -> Tensor:
    """Take the logits themselves."""
    return z


_NORMALISE: Mapping[str, Callable[[Tensor], Tensor]] = {
    "contrasting": contrasting,
    "softmax": softmax,
    "sigmoid": torch.sigmoid,
    "none": unbounded,
}
