"""Omni-dimensional dynamic convolution, ODConv (Li, Zhou and Yao, ICLR 2022, arXiv 2209.07947).

Four attentions from one squeeze of the input weigh its channels, the positions of the kernel, the
kernels and the filters. Every convolution within blocks changes, depthwise ones included, and those
between blocks and after the last; the stem, the shortcuts and linear layers stay. As in the
released code one map of positions is shared by all kernels and channels (the paper's formula allows
one for each kernel), depthwise convolutions have no attention over filters, 1x1 convolutions none
over positions, and one kernel none over kernels.

Deviations from the released code: a batch of one in training normalises its squeeze with the
running statistics instead of failing, and a convolution with a bias keeps it.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from backbones.method import Method, MethodSettings
from backbones.sites import Role, Site, Slot

_SMALLEST_HIDDEN = 16
_STATIC = {Role.STEM, Role.SHORTCUT, Role.CLASSIFIER, Role.ATTENTION}


class Settings(MethodSettings):
    """Settings of ODConv."""

    kernels: int = Field(
        1, ge=1, le=64, description="Kernels that are mixed for each image (n); 1 mixes none."
    )
    reduction: float = Field(
        1 / 16,
        gt=0,
        le=1,
        description="Hidden width of the attentions over the input channels (r), at least 16 wide.",
    )
    temperature: float = Field(
        30.0,
        ge=1,
        description="Temperature of all attentions at the first step; it falls to 1.",
    )
    temperature_epochs: int = Field(
        10, ge=0, description="Epochs in which the temperature falls linearly to 1."
    )
    channel: bool = Field(True, description="Attend over the channels of the input (alpha_c).")
    filter: bool = Field(True, description="Attend over the filters (alpha_f).")
    spatial: bool = Field(True, description="Attend over the positions of the kernel (alpha_s).")

    @model_validator(mode="after")
    def _something_is_left(self) -> Settings:
        if self.kernels == 1 and not (self.channel or self.filter or self.spatial):
            raise ValueError(
                "no attention is left; switch one of channel, filter and spatial on, or take "
                "several kernels"
            )
        return self


def attends_filters(site: Site, settings: Settings) -> bool:
    """Whether the filters of this layer are weighed."""
    return settings.filter and not site.is_depthwise


def attends_positions(site: Site, settings: Settings) -> bool:
    """Whether the positions of this layer's kernel are weighed."""
    return settings.spatial and site.kernel_size != (1, 1)


def hidden_channels(site: Site, settings: Settings) -> int:
    """Return the width of the squeeze."""
    return max(int(site.in_channels * settings.reduction), _SMALLEST_HIDDEN)


def takes(site: Site, settings: Settings) -> bool:
    """Take convolutions for which an attention is left."""
    if site.kind != "conv2d" or site.role in _STATIC:
        return False
    return (
        settings.channel
        or settings.kernels > 1
        or attends_filters(site, settings)
        or attends_positions(site, settings)
    )


METHOD = Method(
    title="ODConv",
    arxiv="2209.07947",
    venue="Li, Zhou and Yao, ICLR 2022",
    family="dynamic",
    slot=Slot.CONV,
    settings=Settings,
    takes=takes,
)
