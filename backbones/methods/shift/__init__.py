"""Shift primitives of AddressNet (He et al., WACV 2019, arXiv 1809.08458).

Each residual block of a network is replaced by AddressNet's: a 1x1 group convolution widens; each
quarter of the wide map moves by one pixel up, down, left or right (address shift), its channels
rotate by half a group (channel shift), and a second 1x1 group convolution narrows it, all of which
is one operator; the block's output is its input moved on in memory with the new channels behind it
(shortcut shift). Of residual blocks that strided, the input is averaged over windows of the stride.
The stem, the layers between stages and the classifier stay.

The paper's abstract names the primitives and that they move pointers; its tables could not be had.
So directions, boundary, distance, groups, expansion and the form of the shortcut shift are our
reading, and settings. Blocks that narrow (the first of MobileNetV2), blocks of tokens and blocks
that take several maps stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from backbones.errors import SettingError
from backbones.method import Method, MethodSettings
from backbones.shift.shape import Place, Variant
from backbones.sites import Site, Slot

_FRESH = 0.5


class Settings(MethodSettings):
    """Settings of the shift primitives."""

    expansion: float = Field(
        default=6.0,
        gt=0,
        le=32,
        description="Channels of the wide map for each channel that the block gives.",
    )
    groups: int = Field(
        default=2, ge=1, description="Groups of both point-wise convolutions (our reading)."
    )
    directions: Literal[4, 5, 8, 9] = Field(
        default=4,
        description="Directions of the address shift (our reading): 4 along the axes, 5 with "
        "channels that stay, 8 with diagonals, 9 with both (ShiftNet's).",
    )
    boundary: Literal["zero", "wrap"] = Field(
        default="zero",
        description="What the address shift reads beyond the border: zeros, or what stands there "
        "in memory (our reading).",
    )
    distance: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Distance of the channel shift as a share of a group; 0 is none (our reading).",
    )
    shortcut: Literal["shift", "add"] = Field(
        default="shift",
        description="Whether a block gives its input moved on with new channels behind it, or the "
        "sum of both, with zeros where there are more channels.",
    )
    fresh: float = Field(
        default=_FRESH,
        gt=0,
        le=1,
        description="Share of the channels that a block makes anew under shortcut=shift (our "
        "reading); more where it widens the map by more.",
    )

    @model_validator(mode="after")
    def _channels_are_made_anew(self) -> Self:
        if self.shortcut == "add" and self.fresh != _FRESH:
            raise ValueError("fresh acts on shortcut=shift only; leave it out")
        return self


def takes(site: Site, settings: Settings) -> bool:
    """Take blocks that map one map to another of no fewer channels."""
    del settings
    is_map = site.in_size[0] == site.in_size[1]  # tokens are counted along one side
    one = site.block_in_channels == site.in_channels
    return is_map and one and 0 < site.in_channels <= site.out_channels


def variant_of(settings: Settings) -> Variant:
    """Return what the settings choose of a block."""
    return Variant(**settings.model_dump())


def place_of(site: Site) -> Place:
    """Return where a block stands."""
    return Place(site.in_channels, site.out_channels, site.stride)


def _check(sites: Sequence[Site], settings: Settings) -> None:
    for site in sites:
        for channels in (site.in_channels, site.out_channels):
            if channels % settings.groups:
                raise SettingError(
                    f"shift(groups={settings.groups}): {site.name} has {channels} channels; "
                    "expected a number of groups that divides the channels of every block"
                )


_BOTTLENECKS = ("resnet50", "resnet101", "resnet152")
"""Their blocks give four times the channels that they compute with: wide enough as they are."""

METHOD = Method(
    title="AddressNet shift",
    arxiv="1809.08458",
    venue="He et al., WACV 2019",
    family="static",
    slot=Slot.BLOCK,
    settings=Settings,
    takes=takes,
    check=_check,
    presets={network: {"expansion": 1.0} for network in _BOTTLENECKS},
)
