"""Ghost module (Han et al., CVPR 2020, arXiv 1911.11907), in place of a network's convolutions.

A convolution with its norm and activation becomes a narrower one (1 / s of the channels) and cheap
depthwise convolutions that make the remaining channels from those; each part has a norm of its own,
and an activation only where the network had one.

Deviations and choices: which convolutions of ResNet-50 the paper takes is not published. Only with
the 1x1 convolutions and the shortcuts do the multiply-adds reach the printed 2.2 G (s = 2) and
1.2 G (s = 4), so ``where=all`` takes every dense convolution but the stem. Its parameters are 13.95
and 8.15 M where 13.0 and 6.5 M are printed: those need a thinned classifier as well, which stays
here. Depthwise convolutions stay, since there is nothing dense in them to thin out.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, field_validator

from backbones.method import Method, MethodSettings
from backbones.sites import Role, Site, Slot


class Settings(MethodSettings):
    """Settings of the Ghost module."""

    ratio: int = Field(
        default=2,
        ge=2,
        le=64,
        description="Channels out for each channel of the dense convolution (s).",
    )
    dw: int = Field(
        default=3, ge=1, description="Kernel of the cheap depthwise convolutions (d), odd."
    )
    where: Literal["all", "spatial"] = Field(
        default="all",
        description="`all`: each dense convolution but the stem, 1x1 and shortcuts included; "
        "`spatial`: those with a kernel above 1x1 only.",
    )

    @field_validator("dw")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("expected an odd number, so that the map keeps its size")
        return value


def intrinsic_channels(site: Site, settings: Settings) -> int:
    """Return the channels that the dense convolution makes: ceil(L / s)."""
    return math.ceil(site.out_channels / settings.ratio)


def takes(site: Site, settings: Settings) -> bool:
    """Take dense convolutions; grouped ones where the groups divide the narrower output."""
    if site.role is Role.STEM or site.kind != "conv2d" or site.is_depthwise:
        return False
    if settings.where == "spatial" and site.kernel_size == (1, 1):
        return False
    return intrinsic_channels(site, settings) % site.groups == 0


METHOD = Method(
    title="Ghost module",
    arxiv="1911.11907",
    venue="Han et al., CVPR 2020",
    family="static",
    slot=Slot.CONV_NORM_ACT,
    settings=Settings,
    takes=takes,
)
