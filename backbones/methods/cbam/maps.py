"""What the two gates of CBAM let through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from backbones.attention_map import Axis, Map, Section, over_images
from backbones.gate import captured, channel_maps
from backbones.methods.cbam import Settings
from backbones.methods.cbam.operator import PeakedExcitation, SpatialGate
from backbones.sites import Site


def maps(
    network: nn.Module, images: Tensor, *, sites: Sequence[Site], settings: Settings
) -> list[Map]:
    """Return the gates of channels, and those of places stage by stage, one layer below another.

    Args:
        network: In evaluation mode.
        images: (N, 3, S, S).
        sites: The taken sites.
        settings: Of CBAM.
    """
    del settings
    places = captured(network, images, sites=sites, kinds=(SpatialGate,))
    alike = groupby(places, key=lambda site: (site.stage, places[site].shape[2:]))
    found = [_of_places({site: places[site] for site in group}) for _, group in alike]
    channels = channel_maps(network, images, sites=sites, kinds=(PeakedExcitation,), method="CBAM")
    return [*channels, *found]


def _of_places(weights: Mapping[Site, Tensor]) -> Map:
    mean, spread = over_images(torch.cat([value[:, 0] for value in weights.values()], dim=1))
    rows = Axis(
        "row", tuple(Section(site.block_name, value.shape[2]) for site, value in weights.items())
    )
    columns = Axis("column", (Section("", mean.shape[1]),))
    stage = next(iter(weights)).stage
    title = "CBAM gate of each place"
    return Map(f"places of stage {stage}", title, rows, columns, mean, spread=spread)
