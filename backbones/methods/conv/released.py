"""Weights of plain networks that are named otherwise here: the baselines of other releases."""

from __future__ import annotations

from backbones.network_names import convnext_original, mobilenetv2_bare, mobilenetv2_torchvision
from backbones.release import Release

RELEASES = (
    Release(
        source="torchvision and OSVAI/ODConv",
        networks={"mobilenetv2_*": mobilenetv2_torchvision},
        layers={},
    ),
    Release(
        source="OSVAI/KernelWarehouse", networks={"mobilenetv2_*": mobilenetv2_bare}, layers={}
    ),
    Release(
        source="facebookresearch/ConvNeXt and OSVAI/KernelWarehouse",
        networks={"convnext_*": convnext_original},
        layers={},
    ),
)
