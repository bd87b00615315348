"""Group-wise and point-wise convolution side by side, GWC + PWC.

The half of SPConv (Zhang et al., IJCAI 2020, arXiv 2006.12085) that sees representative channels,
here on all of them: y = GWC(x) + PWC(x), a convolution with g groups and a dense 1x1 one that joins
the groups. So params are M L (k^2 / g + 1), and multiply-adds that many for each pixel. With as
many groups as HetConv has parts it is also the variant of HetConv (arXiv 1903.04120) that many use
in its place, whose 1x1 product covers the channels of the own part, too.

It stands for dense convolutions above 1x1, one for one; norm and activation of the network stay and
follow the sum. The stem, 1x1 convolutions, shortcuts and grouped convolutions stay, as do those
whose channels g does not divide.

Choices: where a layer strides, the point-wise path averages windows of that stride first, as in
SPConv; at the border of a map of odd size a window averages what it sees. Four groups by default,
since that costs what SPConv does at alpha = 1/2, and what HetConv's variant does at P = 4. Initial
weights are one deviation for both kernels, after He et al. with the paths that leave a channel.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from backbones.dense_spatial import dividing, is_dense_spatial
from backbones.method import Method, MethodSettings
from backbones.sites import Site, Slot


class Settings(MethodSettings):
    """Settings of GWC + PWC."""

    groups: int = Field(
        4,
        ge=2,
        description="Groups of the group-wise convolution (g; P where it stands for HetConv).",
    )


def takes(site: Site, settings: Settings) -> bool:
    """Take dense convolutions above 1x1, whatever their channels."""
    del settings
    return is_dense_spatial(site)


def _divided(sites: Sequence[Site], settings: Settings) -> Sequence[Site]:
    return dividing(sites, settings.groups, text=f"gwc_pwc(groups={settings.groups})")


METHOD = Method(
    title="Group-wise and point-wise convolution",
    arxiv="2006.12085",
    venue="Zhang et al., IJCAI 2020 (a part of SPConv)",
    family="static",
    slot=Slot.CONV,
    settings=Settings,
    takes=takes,
    narrow=_divided,
)
