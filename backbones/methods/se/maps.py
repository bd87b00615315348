"""What the gates of SE let through."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from backbones.attention_map import Map
from backbones.gate import channel_maps
from backbones.methods.se import Settings
from backbones.methods.se.operator import MatrixExcitation, MeanExcitation
from backbones.sites import Site
from backbones.squeeze_excitation import SqueezeExcitation

_KINDS = (SqueezeExcitation, MatrixExcitation, MeanExcitation)


def maps(
    network: nn.Module, images: Tensor, *, sites: Sequence[Site], settings: Settings
) -> list[Map]:
    """Return how the gates of each layer are spread, and those of each channel stage by stage.

    Args:
        network: In evaluation mode.
        images: (N, 3, S, S).
        sites: The taken sites.
        settings: Of SE.
    """
    del settings
    return channel_maps(network, images, sites=sites, kinds=_KINDS, method="SE")
