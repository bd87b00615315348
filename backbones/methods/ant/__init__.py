"""ANTBlock: attention and grouped projections in inverted residuals (arXiv 1904.03775).

An inverted residual block (1x1 up, depthwise, 1x1 down) gets an attention over its widened channels
between the depthwise convolution and the projection, and the projection has groups. The attention
is a squeeze and excitation whose reduction grows with depth. Every inverted residual block of a
network is replaced and keeps its width, kernel, stride and shortcut; so ``mobilenetv2_100/ant`` is
the paper's ANTNet (``antnet_1_0``). A network without blocks that widen is refused.

The authors released no code, only a figure of results. What is known beyond the abstract comes
from a third-party implementation, so these are our choices: norms and ReLU6 stand as in
MobileNetV2, whatever the network had (the third party has biases and no norms); the attention has
no biases; a block that does not widen (MobileNetV2's first) has no 1x1 convolution before the
depthwise one, where the third party has one; channels are not shuffled between groups. Initial
weights are after He et al., fan out, the attention's as PyTorch draws them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from pydantic import Field, field_validator, model_validator

from backbones.errors import SettingError
from backbones.method import Method, MethodSettings
from backbones.sites import Site, Slot

REDUCTIONS = "8-8-12-16-24-32-64"
"""Of the seven stages of the paper's network."""
_FORMS = "a whole number, or one for each stage such as 8-8-12-16-24-32-64"


class Settings(MethodSettings):
    """Settings of ANTBlock."""

    reduction: int | str = Field(
        default=REDUCTIONS,
        description="The attention squeezes E channels to E / r, at least 1 (r): " + _FORMS + ".",
    )
    groups: int = Field(
        default=1, ge=1, description="Groups of the projections (g); the paper has 1 and 2."
    )
    group_first: bool = Field(
        default=True,
        description="Whether the first stage's projections have groups, too; the paper's printed "
        "multiply-adds speak against it, its words for it.",
    )

    @field_validator("reduction", mode="before")
    @classmethod
    def _ratios(cls, value: object) -> object:
        words = value.split("-") if isinstance(value, str) else [str(value)]
        if not all(word.isascii() and word.isdecimal() and int(word) > 0 for word in words):
            raise ValueError(f"expected {_FORMS}")
        numbers = [int(word) for word in words]
        return numbers[0] if len(set(numbers)) == 1 else "-".join(map(str, numbers))

    @model_validator(mode="after")
    def _groups_are_there_to_leave_out(self) -> Self:
        if self.groups == 1 and not self.group_first:
            raise ValueError("group_first=false acts on groups above 1 only; leave it out")
        return self


def hidden_channels(site: Site, settings: Settings) -> int:
    """Return the channels between squeeze and excitation: E / r, at least one."""
    ratios = str(settings.reduction).split("-")
    ratio = int(ratios[min(site.stage, len(ratios) - 1)])
    return max(1, site.groups // ratio)


def projection_groups(site: Site, settings: Settings) -> int:
    """Return the groups of a block's projection."""
    return settings.groups if settings.group_first or site.stage > 0 else 1


def takes(site: Site, settings: Settings) -> bool:
    """Take inverted residual blocks whose map keeps its place under the depthwise kernel."""
    del settings
    return site.groups > 1 and all(side % 2 for side in site.kernel_size)


def _widening(sites: Sequence[Site], settings: Settings) -> Sequence[Site]:
    """Take all blocks or none: depthwise-separable ones alone are no inverted residuals."""
    del settings
    return sites if any(site.groups > site.in_channels for site in sites) else ()


def _check(sites: Sequence[Site], settings: Settings) -> None:
    stages = 1 + max(site.stage for site in sites)
    ratios = str(settings.reduction).split("-")
    if len(ratios) not in {1, stages}:
        raise SettingError(
            f"ant(reduction={settings.reduction}): {len(ratios)} numbers for a network of {stages} "
            f"stages; write {stages} numbers, or one for all stages, such as reduction=16"
        )
    for site in sites:
        groups = projection_groups(site, settings)
        if site.groups % groups or site.out_channels % groups:
            raise SettingError(
                f"ant(groups={groups}): the projection of {site.name} leads from {site.groups} "
                f"to {site.out_channels} channels; expected a number of groups that divides both"
            )


METHOD = Method(
    title="ANTBlock",
    arxiv="1904.03775",
    venue="Xiong et al., 2019",
    family="static",
    slot=Slot.BLOCK,
    settings=Settings,
    takes=takes,
    needs="inverted residual blocks (1x1 up, depthwise, 1x1 down, as in MobileNetV2)",
    narrow=_widening,
    check=_check,
)
