"""What each layer of SPConv weighs its representative branch with, channel by channel."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from backbones.attention_map import Map, by_stage, capture
from backbones.methods.spconv import Settings
from backbones.methods.spconv.operator import SplitConv, share_of_first
from backbones.sites import Site

_EVEN = 0.5


def maps(
    network: nn.Module, images: Tensor, *, sites: Sequence[Site], settings: Settings
) -> list[Map]:
    """Return beta for each stage, layers by channels; no map where the branches are summed.

    Args:
        network: In evaluation mode.
        images: (N, 3, S, S).
        sites: The taken sites.
        settings: Of SPConv.
    """
    if settings.fusion != "soft":
        return []
    said = capture(network, images, kind=SplitConv, weigh=_beta)
    weights = {site: said[site.name] for site in sites}
    return by_stage(weights, title="Weight of the representative channels (beta)", neutral=_EVEN)


def _beta(layer: SplitConv, x: Tensor) -> Tensor:
    return share_of_first(*layer.branches(x))
