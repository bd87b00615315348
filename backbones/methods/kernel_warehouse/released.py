"""Weights of OSVAI/KernelWarehouse.

Its warehouses belong to a manager at the top, numbered in the order in which layers were reserved;
here they belong to their layers. A file holds no temperature.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from backbones.methods.kernel_warehouse.attention import FarLogits
from backbones.methods.kernel_warehouse.operator import KernelWarehouseConv2d, KernelWarehouseLinear
from backbones.methods.kernel_warehouse.partition import Warehouse, partition
from backbones.methods.kernel_warehouse.settings import Settings
from backbones.network_names import (
    convnext_original,
    mobilenetv2_bare,
    unchanged,
)
from backbones.release import Entry, Part, Release, Shape, batch_norm, own_state
from backbones.sites import Role

_LAYERS = (KernelWarehouseConv2d, KernelWarehouseLinear)


def _layer(layer: KernelWarehouseConv2d | KernelWarehouseLinear) -> Iterator[Part]:
    # a dynamic classifier holds a convolution and stands behind a dropout
    inside = "1.conv." if layer.site.role is Role.CLASSIFIER else ""
    attention = layer.attention
    if layer.bias is not None:
        yield Part(f"{inside}bias", "bias")
    if isinstance(attention.logits, FarLogits):
        yield Part(f"{inside}attention.fc2.weight", "attention.logits.near.weight")
        yield Part(f"{inside}attention.fc3.weight", "attention.logits.far.weight")
        yield Part(f"{inside}attention.basis_bias", "attention.logits.offset")
    else:
        yield Part(f"{inside}attention.fc2.weight", "attention.logits.weight")
        yield Part(f"{inside}attention.fc2.bias", "attention.logits.bias")
    yield Part(f"{inside}attention.fc1.weight", "attention.reduce.weight")
    if attention.reduce.bias is not None:
        yield Part(f"{inside}attention.fc1.bias", "attention.reduce.bias")
    norm = batch_norm(f"{inside}attention.norm1", "attention.norm")
    yield from norm[:2] if isinstance(attention.norm, nn.LayerNorm) else norm


def _warehouses(network: nn.Module, settings: Settings) -> Iterator[Entry]:
    names = {id(tensor): name for name, tensor in own_state(network).items()}
    layers = {m.site.name: m for m in network.modules() if isinstance(m, _LAYERS)}
    parts = partition([layer.site for layer in layers.values()], settings)
    for number, part in enumerate(parts):
        cells = layers[part.shares[0].site.name].warehouse.cells
        name = f"warehouse_manager.weights.{number}"
        yield Entry(name, (_released_shape(part),), names[id(cells)], _own_layout)


def _released_shape(part: Warehouse) -> Shape:
    cell = part.cell
    positions = (1,) if part.shares[0].site.role is Role.CLASSIFIER else (cell.height, cell.width)
    return (part.cells, cell.out_channels, cell.in_channels, *positions)


def _own_layout(cells: Tensor) -> Tensor:
    """Put (n, cell outputs, ...) into the order of `Warehouse.cells`."""
    return cells.movedim(0, -1)


def _shapes(name: str, shape: Shape) -> tuple[Shape, ...]:
    # ConvNeXt's layer scale is a map here, which made it decay in training
    return ((1, *shape, 1, 1),) if name.endswith(".gamma") else (shape,)


RELEASES = (
    Release(
        source="OSVAI/KernelWarehouse",
        networks={
            "resnet*": unchanged,
            "mobilenetv2_*": mobilenetv2_bare,
            "convnext_*": convnext_original,
        },
        layers=dict.fromkeys(_LAYERS, _layer),
        beside=_warehouses,
        shapes=_shapes,
    ),
)
