"""Weights of plain networks that are named otherwise here, baselines of other releases mostly."""

from __future__ import annotations

from backbones.network_names import (
    convnext_original,
    dicenet_original,
    mobilenetv2_bare,
    mobilenetv2_torchvision,
)
from backbones.release import Release, Shape


def _with_pixel(name: str, shape: Shape) -> tuple[Shape, ...]:
    """Return the shape of a classifier that is a convolution of one pixel there."""
    return ((*shape, 1, 1),) if name == "classifier.2.weight" else (shape,)


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
    Release(
        source="sacmehta/EdgeNets",
        networks={"dicenet_*": dicenet_original},
        layers={},
        shapes=_with_pixel,
    ),
)
