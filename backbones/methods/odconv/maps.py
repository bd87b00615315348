"""What each layer of ODConv weighs its kernels with; with one kernel there is nothing to weigh."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from backbones.attention_map import Map, by_layer, capture
from backbones.methods.odconv import Settings
from backbones.methods.odconv.attention import Attention, Gates
from backbones.methods.odconv.operator import ODConv2d
from backbones.sites import Site


def maps(
    network: nn.Module, images: Tensor, *, sites: Sequence[Site], settings: Settings
) -> list[Map]:
    """Return the attention over kernels, layers by kernels; no map with a single kernel.

    Args:
        network: In evaluation mode.
        images: (N, 3, S, S).
        sites: The taken sites.
        settings: Of ODConv.
    """
    del sites, settings
    said = capture(network, images, kind=Attention, pick=_over_kernels)
    weights = {name.removesuffix(".attention"): value for name, value in said.items()}
    layer = next(module for module in network.modules() if isinstance(module, ODConv2d))
    note = f"temperature {layer.temperature:.3g}"
    return by_layer(weights, title="Attention over kernels (alpha)", column="kernel", note=note)


def _over_kernels(gates: Gates) -> Tensor | None:
    return gates.kernel
