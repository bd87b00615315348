"""What each router of CondConv weighs the experts of its block (or layer) with."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from backbones.attention_map import Map, by_layer, capture
from backbones.methods.condconv import Settings
from backbones.methods.condconv.operator import Router
from backbones.sites import Site


def maps(
    network: nn.Module, images: Tensor, *, sites: Sequence[Site], settings: Settings
) -> list[Map]:
    """Return the weights of the experts, routers by experts.

    Args:
        network: In evaluation mode.
        images: (N, 3, S, S).
        sites: The taken sites.
        settings: Of CondConv.
    """
    del sites
    said = capture(network, images, kind=Router)
    weights = {name.removesuffix(".router"): value for name, value in said.items()}
    return by_layer(weights, title="Routing weight", column="expert", note=settings.routing)
