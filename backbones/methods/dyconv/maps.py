"""What each layer of DY-Conv weighs its kernels with."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from backbones.attention_map import Map, by_layer, capture
from backbones.methods.dyconv import Settings
from backbones.methods.dyconv.operator import Attention, DynamicConv2d
from backbones.sites import Site


def maps(
    network: nn.Module, images: Tensor, *, sites: Sequence[Site], settings: Settings
) -> list[Map]:
    """Return the attention over kernels, layers by kernels.

    Args:
        network: In evaluation mode.
        images: (N, 3, S, S).
        sites: The taken sites.
        settings: Of DY-Conv.
    """
    del sites, settings
    said = capture(network, images, kind=Attention)
    weights = {name.removesuffix(".attention"): value for name, value in said.items()}
    layer = next(module for module in network.modules() if isinstance(module, DynamicConv2d))
    note = f"temperature {layer.temperature:.3g}"
    return by_layer(weights, title="Attention over kernels (pi)", column="kernel", note=note)
