"""Small layers of KernelWarehouse for the tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from backbones.methods.kernel_warehouse import Settings
from backbones.methods.kernel_warehouse.operator import KernelWarehouseConv2d, plan
from backbones.methods.kernel_warehouse.partition import partition
from backbones.sites import Role, Site, Slot
from tests.backbones.reference_kernel_warehouse import Layer


def site(name: str, channels: tuple[int, int], *, kernel: int = 3, **shape: Any) -> Site:
    for key in {"stride", "padding", "dilation"} & set(shape):
        shape[key] = (shape[key],) * 2
    return Site(
        name=name,
        slots=frozenset({Slot.CONV}),
        role=shape.pop("role", Role.SPATIAL),
        stage=0,
        block=0,
        block_name="0",
        kind=shape.pop("kind", "conv2d"),
        in_channels=channels[0],
        out_channels=channels[1],
        kernel_size=(kernel, kernel),
        **shape,
    )


PLAIN_3X3 = site("other", (8, 4), padding=1)
CASES: Mapping[str, tuple[Site, ...]] = {
    "3x3": (site("layer", (8, 12), padding=1),),
    "stride 2": (site("layer", (8, 12), padding=1, stride=2),),
    "stride 3, no padding": (site("layer", (4, 4), stride=3),),
    "dilation": (site("layer", (4, 8), padding=2, dilation=2),),
    "1x1": (site("layer", (8, 12), kernel=1),),
    "1x1, stride 2": (site("layer", (8, 12), kernel=1, stride=2),),
    "1x1, padding": (site("layer", (8, 4), kernel=1, padding=1),),
    "bias": (site("layer", (8, 4), padding=1, bias=True),),
    "even kernel": (site("layer", (3, 6), kernel=2, stride=2),),
    "5x5": (site("layer", (4, 4), kernel=5, padding=2),),
    "groups": (site("layer", (8, 12), padding=1, groups=2),),
    "uneven": (
        replace(
            site("layer", (8, 12), bias=True, groups=2),
            kernel_size=(2, 3),
            stride=(1, 2),
            padding=(2, 1),
            dilation=(3, 1),
        ),
    ),
    "depthwise": (site("layer", (8, 8), padding=1, groups=8, role=Role.DEPTHWISE),),
    "depthwise, stride 2": (
        site("layer", (8, 8), padding=1, stride=2, groups=8, role=Role.DEPTHWISE),
    ),
    "first of two": (site("layer", (8, 8), padding=1), PLAIN_3X3),
    "second of two": (PLAIN_3X3, site("layer", (8, 8), padding=1)),
    "wider than its cells": (site("other", (4, 4), padding=1), site("layer", (8, 8), padding=1)),
}


def layer_of(sites: tuple[Site, ...], settings: Settings) -> tuple[KernelWarehouseConv2d, Layer]:
    module = plan(sites, settings)["layer"]
    assert isinstance(module, KernelWarehouseConv2d)
    shake(module)
    part = next(
        part
        for part in partition(sites, settings)
        if any(share.site.name == "layer" for share in part.shares)
    )
    share = next(share for share in part.shares if share.site.name == "layer")
    return module, Layer(
        site=share.site,
        cell=(part.cell.out_channels, part.cell.in_channels),
        cells=part.cells,
        first=share.first,
        budget=settings.budget,
        apart=settings.sharing == "none",
    )


def shake(module: nn.Module) -> None:
    """Move norms, biases and offsets away from 0 and 1, where a mistake could hide."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.1 * torch.randn_like(buffer))
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand_like(buffer))


def pair(**settings: Any) -> nn.Module:
    """Return a network of two layers with one warehouse (N, 8, H, W) -> (N, 16, H, W)."""
    sites = (site("a", (8, 8), padding=1), site("b", (8, 16), padding=1))
    made = plan(sites, Settings(**settings))
    return nn.Sequential(made["a"], nn.ReLU(), made["b"])
