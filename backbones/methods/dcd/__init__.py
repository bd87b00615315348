"""Dynamic convolution by matrix decomposition, DCD (Li et al., ICLR 2021, arXiv 2103.08756).

The kernel of an image is Lambda(x) W0 + P Phi(x) Q^T: a static kernel whose output channels are
scaled, and a full L x L matrix that fuses channels in a space of few. No kernel is made for an
image: the second term is a branch of 1x1 convolutions around a small product.

Dense convolutions within blocks and the classifier change; the stem, shortcuts and depthwise
convolutions stay. Three rules were released, which differ in what the controller looks at and how L
comes from the channels:

- ``basic`` (ResNet-18/34): means of the four quarters of the map, L = sqrt(4 I);
- ``bottleneck`` (ResNet-50/101/152, and every network without a rule of its own, our choice): the
  mean of the map, L = sqrt(I);
- ``inverted`` (MobileNetV2): 1x1 convolutions of blocks that expand; quarters where channels grow,
  else the mean; L is a part of the channels. The block that does not expand and the last
  convolution stay.

Deviations from the released code: maps of any size (there a fixed 7x7 pooling), and where a batch
leaves one value for each channel (a batch of one at the classifier or on a 1x1 map), norms take
their running statistics in training, too, and leave them as they are, instead of failing. The
sparse residual of the paper was not released and is not here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from backbones.method import Method, MethodSettings
from backbones.sites import Role, Site, Slot

_CLASSIFIER_WIDTH = 32
"""L and the controller's width at the classifier, in every release."""
_FEWEST = 4
"""Least L of the inverted rule, and least width of a controller."""
_DENSE = {Role.SPATIAL, Role.POINTWISE, Role.EXPAND, Role.PROJECT}


class Settings(MethodSettings):
    """Settings of DCD."""

    rule: Literal["basic", "bottleneck", "inverted"] = Field(
        "bottleneck",
        description="Which layers change, what the controller looks at and how many channels are "
        "fused (L): as in the released ResNet-18/34, ResNet-50 or MobileNetV2.",
    )
    squeeze: int = Field(
        16,
        ge=1,
        description="The controller is max(its inputs, L^2) / this wide, at least 4 "
        "(fc_squeeze of MobileNetV2).",
    )


def pooled_side(site: Site, settings: Settings) -> int:
    """Return 2 where the controller looks at the four quarters of the map, 1 for the whole."""
    if site.kind == "linear":
        return 1
    grows = site.in_channels < site.out_channels
    return 2 if settings.rule == "basic" or (settings.rule == "inverted" and grows) else 1


def fused_channels(site: Site, settings: Settings) -> int:
    """Return the channels among which the dynamic branch fuses (L)."""
    if site.kind == "linear":
        return _CLASSIFIER_WIDTH
    pooled = site.in_channels * pooled_side(site, settings) ** 2
    if settings.rule != "inverted":
        return math.isqrt(pooled)
    divisor = 8 if site.in_channels < site.out_channels else 2
    while (fused := min(pooled // divisor, site.out_channels // divisor)) ** 2 > 2 * pooled:
        divisor *= 2
    return max(fused, _FEWEST)


def controller_width(site: Site, settings: Settings) -> int:
    """Return the hidden width of the controller."""
    if site.kind == "linear":
        return _CLASSIFIER_WIDTH
    pooled = site.in_channels * pooled_side(site, settings) ** 2
    wide = max(pooled, fused_channels(site, settings) ** 2)
    return max(wide // settings.squeeze, _FEWEST)


def takes(site: Site, settings: Settings) -> bool:
    """Take the classifier and dense convolutions within blocks."""
    if site.role is Role.CLASSIFIER:
        return site.kind == "linear"
    if site.kind != "conv2d" or site.groups != 1 or not site.block_name:
        return False
    if settings.rule == "inverted":
        expanded = site.role is Role.PROJECT and site.in_channels > site.block_in_channels
        return site.kernel_size == (1, 1) and (site.role is Role.EXPAND or expanded)
    return site.role in _DENSE and _keeps_place(site)


def narrow(taken: Sequence[Site], settings: Settings) -> Sequence[Site]:
    """Take nothing from a network of which only the classifier would change."""
    del settings
    return taken if any(site.kind == "conv2d" for site in taken) else []


def _keeps_place(site: Site) -> bool:
    """Whether a 1x1 convolution of the same stride has maps of the same size."""
    return all(
        2 * padding == dilation * (kernel - 1)
        for kernel, padding, dilation in zip(
            site.kernel_size, site.padding, site.dilation, strict=True
        )
    )


_MOBILENET_V2 = ("035", "050", "075", "100", "110d", "120d", "140")

METHOD = Method(
    title="DCD",
    arxiv="2103.08756",
    venue="Li et al., ICLR 2021",
    family="dynamic",
    slot=Slot.CONV,
    settings=Settings,
    takes=takes,
    narrow=narrow,
    presets={
        **{name: {"rule": "basic"} for name in ("resnet18", "resnet20_cifar", "resnet34")},
        **{f"mobilenetv2_{width}": {"rule": "inverted"} for width in _MOBILENET_V2},
    },
)
