"""Which parameters of a detector decay, and which learn more slowly than others."""

from __future__ import annotations

from collections import defaultdict
from typing import Literal, TypedDict

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from backbones.pyramid import Pyramid

Decays = Literal["all", "not_norms", "matrices"]
"""What decays: everything, as in mmdet; all but norms; or neither norms nor biases nor any other
vector, as mmdet has it with decay by layers."""

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)


class Group(TypedDict):
    """Parameters that learn alike, as torch's optimisers take them.

    Attributes:
        params: The parameters.
        weight_decay: Theirs.
        lr_share: Their learning rate over that of the run.
    """

    params: list[nn.Parameter]
    weight_decay: float
    lr_share: float


def parameter_groups(
    detector: nn.Module,
    *,
    weight_decay: float,
    decays: Decays = "all",
    layer_decay: float = 1.0,
    layers: int = 6,
) -> list[Group]:
    """Divide what learns in a detector.

    With `layer_decay` below 1 a layer of the backbone learns at that part of the rate of the layer
    after it. Layer 0 is what runs before the first block; block i of n is in layer
    1 + i * layers // n, with what leads to it (a downsampling, say); what follows the last block
    is in the last layer. Norms of the maps, neck and heads are above all layers and have the full
    rate. With 6 layers that is mmdet's rule for ConvNeXt-Tiny.

    Parameters that several layers share, such as a warehouse of KernelWarehouse, are in the last
    layer that uses them: they serve it too, so they may learn as fast as it does. (The official
    code leaves all warehouses at the full rate, since it registers them outside the layers.)

    Args:
        detector: As `make_detector` returns it.
        weight_decay: Of what decays, which is everything in mmdet.
        decays: Which parameters decay.
        layer_decay: Rate of a layer over that of the next, in (0, 1].
        layers: Layers of blocks.

    Returns:
        Groups of the parameters that require gradients, each parameter in one.
    """
    exempt = _exempt(detector, decays)
    layer_of = _layers(detector, layers) if layer_decay < 1 else {}
    groups: dict[tuple[int, bool], list[nn.Parameter]] = defaultdict(list)
    for parameter in detector.parameters():
        if parameter.requires_grad:
            key = (layer_of.get(id(parameter), layers + 1), id(parameter) not in exempt)
            groups[key].append(parameter)
    return [
        Group(
            params=groups[layer, decays],
            weight_decay=weight_decay if decays else 0.0,
            lr_share=layer_decay ** (layers + 1 - layer),
        )
        for layer, decays in sorted(groups)
    ]


def _exempt(detector: nn.Module, decays: Decays) -> set[int]:
    if decays == "all":
        return set()
    if decays == "matrices":
        return {
            id(parameter)
            for name, parameter in detector.named_parameters()
            if parameter.ndim <= 1 or name.endswith(".bias")
        }
    return {
        id(parameter)
        for module in detector.modules()
        if isinstance(module, _NORMS)
        for parameter in module.parameters(recurse=False)
    }


def _layers(detector: nn.Module, layers: int) -> dict[int, int]:
    """Return the layer of each parameter of the network inside the backbone."""
    pyramid = next(module for module in detector.modules() if isinstance(module, Pyramid))
    layout = pyramid.layout
    found = {id(parameter): 0 for parameter in pyramid.network.parameters()}
    for path, depth in layout.depths.items():
        layer = 0 if depth < 0 else 1 + depth * layers // layout.blocks
        for parameter in pyramid.network.get_submodule(path).parameters():
            found[id(parameter)] = max(found[id(parameter)], layer)
    return found
