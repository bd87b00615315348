"""Start-up assignment and attention of each warehouse, mixtures by cells as in the paper's figures.

The start-up assignment follows from the plan alone; the attention is what the layers' attention
modules say in a forward pass, at the temperature that the network has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from backbones.attention_map import Axis, Map, Section, capture, over_images
from backbones.methods.kernel_warehouse import operator
from backbones.methods.kernel_warehouse.attention import Attention
from backbones.methods.kernel_warehouse.partition import Warehouse, partition
from backbones.methods.kernel_warehouse.settings import Settings
from backbones.methods.kernel_warehouse.startup import assignment
from backbones.sites import Site


def maps(
    network: nn.Module, images: Tensor, *, sites: Sequence[Site], settings: Settings
) -> list[Map]:
    """Return two maps for each warehouse: start-up assignment and mean attention.

    Args:
        network: In evaluation mode.
        images: (N, 3, S, S).
        sites: The taken sites.
        settings: The method's settings.
    """
    attentions = {
        name.removesuffix(".attention"): said
        for name, said in capture(network, images, kind=Attention).items()
    }
    # one schedule serves all warehouses
    temperature = next(
        m.temperature for m in network.modules() if isinstance(m, operator.Warehouse)
    )
    found = []
    for part in partition(sites, settings):
        found += [_startup(part, settings), _attention(part, attentions, temperature)]
    return found


def _startup(part: Warehouse, settings: Settings) -> Map:
    beta = np.zeros((part.mixtures, part.cells), dtype=np.float32)
    first = 0
    for share in part.shares:
        for mixture, cell, weight in assignment(share, part, settings):
            beta[first + mixture, cell] = weight
        first += share.mixtures
    return Map(part.name, "Start-up assignment (beta)", *_axes(part), beta)


def _attention(part: Warehouse, attentions: Mapping[str, Tensor], temperature: float) -> Map:
    alpha_NMK = torch.cat([attentions[share.site.name] for share in part.shares], dim=1)
    if part.reach < part.cells:
        # each mixture weighs cells of its own, which lie one mixture after the other
        images, mixtures, reach = alpha_NMK.shape
        apart = torch.eye(mixtures)[None, :, :, None] * alpha_NMK[:, :, None, :]
        alpha_NMK = apart.view(images, mixtures, mixtures * reach)
    mean, spread = over_images(alpha_NMK)
    note = f"temperature {temperature:.3g}"
    return Map(part.name, "Attention (alpha)", *_axes(part), mean, spread=spread, note=note)


def _axes(part: Warehouse) -> tuple[Axis, Axis]:
    """A mixture belongs to the layer whose kernel it fills, a cell to the one that owns it."""
    mixtures = [Section(share.site.name, share.mixtures) for share in part.shares]
    cells = [Section(share.site.name, share.owned) for share in part.shares if share.owned]
    return Axis("mixture", tuple(mixtures)), Axis("cell", tuple(cells))
