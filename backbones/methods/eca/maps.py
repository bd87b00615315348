"""What the gates of ECA let through."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from backbones.attention_map import Map
from backbones.gate import channel_maps
from backbones.methods.eca import Settings
from backbones.methods.eca.operator import EfficientChannelAttention, UnsharedChannelAttention
from backbones.sites import Site

_KINDS = (EfficientChannelAttention, UnsharedChannelAttention)


def maps(
    network: nn.Module, images: Tensor, *, sites: Sequence[Site], settings: Settings
) -> list[Map]:
    """Return how the gates of each layer are spread, and those of each channel stage by stage.

    Args:
        network: In evaluation mode.
        images: (N, 3, S, S).
        sites: The taken sites.
        settings: Of ECA.
    """
    del settings
    return channel_maps(network, images, sites=sites, kinds=_KINDS, method="ECA")
