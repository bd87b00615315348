"""WeightNet: Revisiting the Design Space of Weight Networks (Ma et al., ECCV 2020).

arXiv 2007.11823. A grouped linear layer makes each filter of an image from M numbers between 0 and
1 of its own, which come from the mean of the block's input through a reduction that all layers of
the block share. Every convolution within residual blocks changes: depthwise ones, which have M / G
numbers and one group for each filter, and both branches of a block, so shortcuts, too. The stem,
what stands after the last block, linear layers and attentions stay. Where a block convolves only
half of its input, as ShuffleNetV2's of stride 1, the reduction sees that half.

With M = G ("1x", the default) each group is one gain, so a layer is a static convolution in G parts
whose maps are scaled and summed: no kernel need be made, and none is for batches above one.

The released networks are ``shufflenet_v2_weightnet_x0_5`` to ``x2_0``. How the paper's other
networks were changed is not released; shortcuts of ResNets changing is our reading of the
ShuffleNetV2 blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field, model_validator

from backbones.errors import SettingError
from backbones.method import Method, MethodSettings
from backbones.sites import Role, Site, Slot

_SMALLEST_REDUCTION = 16


class Settings(MethodSettings):
    """Settings of WeightNet."""

    hidden: int = Field(
        2, ge=1, le=64, description="Hidden numbers for each filter (M), a multiple of groups."
    )
    groups: int = Field(
        2, ge=1, le=64, description="Groups of the generating layer for each filter (G)."
    )
    reduction: int = Field(
        16,
        ge=1,
        description="The block's input is reduced to its channels / this, at least 16 numbers.",
    )

    @model_validator(mode="after")
    def _groups_divide_hidden(self) -> Settings:
        if self.hidden % self.groups:
            raise ValueError(
                f"groups must divide hidden, but hidden={self.hidden} and groups={self.groups}; "
                f"hidden={self.groups * math.ceil(self.hidden / self.groups)} would do"
            )
        return self


def reduced_width(channels: int, settings: Settings) -> int:
    """Return the numbers that a block hands to its layers."""
    return max(_SMALLEST_REDUCTION, channels // settings.reduction)


def reduced_channels(block: Sequence[Site]) -> int:
    """Return the channels of a block's input that the reduction sees, the last ones.

    Args:
        block: The sites that are taken in one block, in order.
    """
    first = block[0]
    half = first.block_in_channels // 2
    return half if first.in_channels == half else first.block_in_channels


def parts(site: Site, settings: Settings) -> int:
    """Return the groups from which a filter is made."""
    return 1 if site.is_depthwise else settings.groups


def takes(site: Site, settings: Settings) -> bool:
    """Take the convolutions within blocks."""
    del settings
    in_block = site.kind == "conv2d" and site.block_in_channels > 0
    return in_block and site.role is not Role.ATTENTION


def check(sites: Sequence[Site], settings: Settings) -> None:
    """Refuse groups that do not share out a filter.

    Raises:
        SettingError: Names the layer, and what would do.
    """
    for site in sites:
        numbers = site.in_channels // site.groups * math.prod(site.kernel_size)
        if numbers % parts(site, settings):
            raise SettingError(
                f"weightnet(groups={settings.groups}): a filter of {site.name} has {numbers} "
                f"numbers, which {settings.groups} groups do not share out; groups must divide "
                "that, as groups=1 does"
            )


METHOD = Method(
    title="WeightNet",
    arxiv="2007.11823",
    venue="Ma et al., ECCV 2020",
    family="dynamic",
    slot=Slot.CONV,
    settings=Settings,
    takes=takes,
    check=check,
)
