"""Heterogeneous convolution, HetConv (Singh et al., CVPR 2019, arXiv 1903.04120).

Each filter looks at all M channels, at M / P of them with the full kernel and at the others with a
1x1 kernel; the next filter's full kernels are shifted by one channel. So params are
M L (k^2 / P + 1 - 1 / P), and multiply-adds that many for each pixel. Norm and activation of the
network stay.

It stands for dense convolutions above 1x1, one for one; the stem, 1x1 convolutions, shortcuts and
grouped convolutions stay, as do those whose channels P does not divide.

Deviations and choices: the paper gives full kernels to the channels m of filter l for which
(m - l) mod P = 0. Here they are the channels of the filter's own P-th instead (m P // M =
l P // L), which is the same network with its channels in another order and needs no copies of maps:
one grouped convolution, and one 1x1 product in which the weights of the own part are zero. Those
zeros are no parameters, and what is multiplied by them does not count as multiply-adds, as in the
paper. How the paper strides is not known to us: both kernels take the stride, as one filter with
1x1 kernels would. Initial weights are ours: one deviation for both kinds of kernels, after He et
al. with the paths that really leave a channel. An often cited variant, whose 1x1 product covers
all channels, is ``gwc_pwc`` with as many groups.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from backbones.dense_spatial import dividing, is_dense_spatial
from backbones.method import Method, MethodSettings
from backbones.sites import Site, Slot


class Settings(MethodSettings):
    """Settings of HetConv."""

    parts: int = Field(
        4,
        ge=2,
        description="A filter has full kernels for one channel in this many (P); the paper has "
        "2 to 64, and 1 would be `conv`.",
    )


def takes(site: Site, settings: Settings) -> bool:
    """Take dense convolutions above 1x1, whatever their channels."""
    del settings
    return is_dense_spatial(site)


def _divided(sites: Sequence[Site], settings: Settings) -> Sequence[Site]:
    return dividing(sites, settings.parts, text=f"hetconv(parts={settings.parts})")


METHOD = Method(
    title="Heterogeneous kernels (HetConv)",
    arxiv="1903.04120",
    venue="Singh et al., CVPR 2019",
    family="static",
    slot=Slot.CONV,
    settings=Settings,
    takes=takes,
    narrow=_divided,
)
