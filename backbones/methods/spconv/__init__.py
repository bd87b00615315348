"""SPConv, split-based convolution (Zhang et al., IJCAI 2020, arXiv 2006.12085).

The first alpha of the input channels are representative: a group-wise convolution and a point-wise
one see them. The others are redundant: a point-wise convolution sees those. Both branches make all
output channels, each with a norm of its own, and weights from a softmax over the means of the two
maps, which has no parameters, add them up. The network's own norm follows as the third.

Dense convolutions with an odd kernel above 1x1 change, on any network whose padding keeps their
place; the stem, everything with three inputs, shortcuts, 1x1, grouped and depthwise convolutions
stay. That is each 3x3 of a ResNet's blocks, the strided ones included.

Deviations from the released code: maps of odd size (a pooling window at the border averages what it
sees; there a stride fails on them); dilation is kept, and grouped convolutions stay, where the
released class drops both; representative channels are rounded down to a multiple of the groups. The
bias of a replaced convolution goes, since the norms inside shift. One value for each channel cannot
be normalised in training, as nowhere in the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

from pydantic import Field, field_validator

from backbones.errors import SettingError
from backbones.method import Method, MethodSettings
from backbones.sites import Role, Site, Slot

_STAYING = {Role.STEM, Role.SHORTCUT, Role.ATTENTION, Role.CLASSIFIER}
_IMAGE_CHANNELS = 3
_FORMS = "a number between 0 and 1, or one for each stage such as 0.5-0.5-0.25-0.25"


class Settings(MethodSettings):
    """Settings of SPConv."""

    alpha: float | str = Field(
        default=0.5,
        description=f"Share of the input channels that is representative (alpha): {_FORMS}.",
    )
    groups: int = Field(
        default=2,
        ge=1,
        description="Groups of the group-wise convolution (g); the paper has 2 at every alpha.",
    )
    pointwise: bool = Field(
        default=True,
        description="Whether a point-wise convolution joins the groups of the representative "
        "channels (PWC).",
    )
    fusion: Literal["soft", "sum"] = Field(
        default="soft",
        description="How the two maps are added: with weights beta and gamma from their means "
        "(soft), or as they are (sum).",
    )

    @field_validator("alpha", mode="before")
    @classmethod
    def _shares(cls, value: object) -> object:
        words = value.split("-") if isinstance(value, str) else [value]
        shares = [_share(word) for word in words]
        if any(share is None or not 0 < share < 1 for share in shares):
            raise ValueError(f"expected {_FORMS}")
        if len(set(shares)) == 1:
            return shares[0]
        return "-".join(f"{Decimal(repr(share)):f}" for share in shares)


def _share(word: object) -> float | None:
    if isinstance(word, bool) or not isinstance(word, int | float | str):
        return None
    try:
        return float(word)
    except ValueError:
        return None


def representative_channels(site: Site, settings: Settings) -> int:
    """Return the inputs that the group-wise convolution sees: alpha of them, in whole groups."""
    shares = str(settings.alpha).split("-") if isinstance(settings.alpha, str) else [settings.alpha]
    share = float(shares[min(max(site.stage, 0), len(shares) - 1)])
    wanted = int(round(share * site.in_channels, 9))  # 0.29 x 100 is 28.999999999999996
    return wanted // settings.groups * settings.groups


def takes(site: Site, settings: Settings) -> bool:
    """Take dense convolutions above 1x1 that keep their place."""
    del settings
    return (
        site.kind == "conv2d"
        and site.role not in _STAYING
        and site.groups == 1
        and site.in_channels > _IMAGE_CHANNELS
        and site.kernel_size != (1, 1)
        and _keeps_place(site)
    )


def _keeps_place(site: Site) -> bool:
    """Whether the map is that of a 1x1 convolution of the same stride, which odd kernels can be."""
    return all(
        2 * padding == dilation * (kernel - 1) and kernel % 2
        for kernel, padding, dilation in zip(
            site.kernel_size, site.padding, site.dilation, strict=True
        )
    )


def _check(sites: Sequence[Site], settings: Settings) -> None:
    stages = 1 + max(site.stage for site in sites)
    given = len(settings.alpha.split("-")) if isinstance(settings.alpha, str) else stages
    if given != stages:
        raise SettingError(
            f"spconv(alpha={settings.alpha}): {given} numbers for a network of {stages} stages; "
            f"write {stages} numbers, or one for all stages"
        )
    for site in sites:
        if site.out_channels % settings.groups:
            raise SettingError(
                f"spconv(groups={settings.groups}): {site.name} has {site.out_channels} outputs; "
                "expected a number of groups that divides them"
            )
        if representative_channels(site, settings) == 0:
            raise SettingError(
                f"spconv(alpha={settings.alpha},groups={settings.groups}): {site.name} has "
                f"{site.in_channels} inputs, of which too few are representative to fill "
                f"{settings.groups} groups; expected alpha of at least "
                f"{settings.groups / site.in_channels:.4g} there, or fewer groups"
            )


METHOD = Method(
    title="SPConv",
    arxiv="2006.12085",
    venue="Zhang et al., IJCAI 2020",
    family="static",
    slot=Slot.CONV,
    settings=Settings,
    takes=takes,
    check=_check,
)
