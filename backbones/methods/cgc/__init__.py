"""Context-gated convolution, CGC (Lin, Ma, Liu and Chang, ECCV 2020, arXiv 1910.05577).

Each number of a kernel is gated by what the whole map holds: the gate is the sigmoid of a part that
belongs to the input channel and one that belongs to the output channel, both decoded from a pooled
map of the kernel's own size. Every convolution with a kernel above 1x1 changes, the stem included;
1x1 convolutions and linear layers stay.

Deviations from the released code, which names a variable that does not exist and cannot run as
published: maps need not be square, biases are kept, and grouped convolutions are gated group by
group, so that depthwise ones change, too (the release was for ResNet-50 and ignores groups). Where
its groups of 16 channels do not divide a layer, the next smaller width that does is taken.
Normalisation over a batch of one in training goes over the latent numbers of that image, of which
there are five for a 3x3 kernel, as in the release.
"""

from __future__ import annotations

import math

from backbones.method import Method, MethodSettings
from backbones.sites import Role, Site, Slot

_INTERACTION = 16
"""Most channels in a group of the channel interaction."""


def latent_width(site: Site) -> int:
    """Return the numbers to which the pooled map of a channel is encoded (d)."""
    return math.prod(site.kernel_size) // 2 + 1


def interaction_width(site: Site) -> int:
    """Return the input channels in a group of the channel interaction.

    Groups must share out both inputs and outputs; a single group always does.
    """
    for width in range(min(_INTERACTION, site.in_channels), 0, -1):
        groups, rest = divmod(site.in_channels, width)
        if rest == 0 and site.out_channels % groups == 0:
            return width
    return site.in_channels


def takes(site: Site, settings: MethodSettings) -> bool:
    """Take convolutions with a kernel above 1x1."""
    del settings
    has_window = site.kind == "conv2d" and site.kernel_size != (1, 1)
    return has_window and site.role is not Role.ATTENTION


METHOD = Method(
    title="Context-Gated Convolution",
    arxiv="1910.05577",
    venue="Lin et al., ECCV 2020",
    family="dynamic",
    slot=Slot.CONV,
    takes=takes,
)
