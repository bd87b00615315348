"""Octave convolution, OctConv (Chen et al., ICCV 2019, arXiv 1904.05049).

The last alpha of the channels are low in frequency and have half the side. Four convolutions lead
from high and low to high and low; the parameters are those of the plain convolution, whose weight
is cut in four. Between two octave convolutions a pixel costs 1 - (3 / 4) alpha (2 - alpha) of it.

It stands for dense convolutions, 1x1 and shortcuts included, but the stem and 1x1 convolutions
after the last block. The first block takes a map without low channels, and in the last stage only
the first block's inputs (its first convolution and its shortcut) have them. That is the rule whose
multiply-adds fit what a re-implementation prints for ResNet-50 and 101, 2367 and 3991 M, and what
the paper prints at every alpha. Where a network has one stage only, such as VGG, the first
convolution takes no low channels and the last gives none.

Deviations and choices: maps stay whole tensors, so that any network can have it. A convolution
halves the side of its low channels by the mean of four pixels and doubles it again at its end. On
maps of even sides that gives the paper's numbers, since nothing is lost between, but moves more
memory; running variances of norms count each low pixel four times. Maps of odd sides are cut at the
border after doubling, and the mean is of those pixels that are there. A stride of 2 is a mean of
four pixels, too, and low channels then lead to high ones as they are. Depthwise and grouped
convolutions stay as they are, as do other strides and even kernels: the paper's MobileNetV2 and
ResNeXt, which split those, are not this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field

from backbones.dense_spatial import is_centred
from backbones.method import Method, MethodSettings
from backbones.sites import Role, Site, Slot

_STAYING = {Role.STEM, Role.ATTENTION, Role.CLASSIFIER}
_STRIDES = {(1, 1), (2, 2)}


class Settings(MethodSettings):
    """Settings of OctConv."""

    alpha: float = Field(
        0.5, gt=0, lt=1, description="Share of the channels that is low in frequency (alpha)."
    )


def takes(site: Site, settings: Settings) -> bool:
    """Take dense convolutions of stride 1 and 2."""
    if site.kind != "conv2d" or site.groups > 1 or site.stride not in _STRIDES:
        return False
    if site.role in _STAYING or _is_head(site) or not is_centred(site):
        return False
    return int(settings.alpha * min(site.in_channels, site.out_channels)) > 0


def _is_head(site: Site) -> bool:
    """Whether this is a 1x1 convolution that ends a network, at times after its pooling."""
    between = site.role in {Role.DOWNSAMPLE, Role.SHORTCUT}
    return not site.block_name and site.kernel_size == (1, 1) and not between


def low_channels(sites: Sequence[Site], settings: Settings) -> Mapping[str, tuple[int, int]]:
    """Return how many low channels go into each convolution and come out of it.

    Args:
        sites: All that are taken, or those of them that have low channels.
        settings: Of OctConv.
    """
    stages = {site.stage for site in sites}
    entries = _entries(sites)
    found = {}
    for number, site in enumerate(sites):
        if len(stages) == 1:
            has_in, has_out = number > 0, number < len(sites) - 1
        else:
            is_entry = site.name in entries
            has_out = site.stage < max(stages)
            has_in = not (is_entry and site.stage == min(stages)) and (is_entry or has_out)
        found[site.name] = (
            int(settings.alpha * site.in_channels) * has_in,
            int(settings.alpha * site.out_channels) * has_out,
        )
    return found


def _entries(sites: Sequence[Site]) -> set[str]:
    """Name what takes the input of the first block of a stage, and what stands between stages."""
    entries, begun = set(), set()
    for site in sites:
        if site.block > 0:
            continue
        if site.role is Role.SHORTCUT or not site.block_name:
            entries.add(site.name)
        elif site.block_name not in begun:
            begun.add(site.block_name)
            entries.add(site.name)
    return entries


def _with_low(sites: Sequence[Site], settings: Settings) -> Sequence[Site]:
    low = low_channels(sites, settings)
    return [site for site in sites if any(low[site.name])]


METHOD = Method(
    title="Octave convolution",
    arxiv="1904.05049",
    venue="Chen et al., ICCV 2019",
    family="static",
    slot=Slot.CONV,
    settings=Settings,
    takes=takes,
    narrow=_with_low,
)
