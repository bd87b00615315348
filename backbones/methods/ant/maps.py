"""What the attention of ANT lets through, in the widened channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from backbones.attention_map import Map
from backbones.gate import channel_maps
from backbones.methods.ant import Settings
from backbones.sites import Site
from backbones.squeeze_excitation import SqueezeExcitation


def maps(
    network: nn.Module, images: Tensor, *, sites: Sequence[Site], settings: Settings
) -> list[Map]:
    """Return how the gates of each block are spread, and those of each channel stage by stage.

    Args:
        network: In evaluation mode.
        images: (N, 3, S, S).
        sites: The taken blocks.
        settings: Of ANTBlock.
    """
    del settings
    # a gate on top of a block is not its own attention
    own = [replace(site, name=f"{site.name}.attn") for site in sites]
    return channel_maps(network, images, sites=own, kinds=(SqueezeExcitation,), method="ANT")
