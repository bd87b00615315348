"""Depthwise-separable convolution, as in MobileNet (Howard et al., 2017, arXiv 1704.04861).

A convolution becomes a depthwise one of the same kernel, with the stride, and a dense 1x1 one after
it: M k^2 + M L weights, and multiply-adds that many for each pixel that goes out.

It stands for dense convolutions above 1x1, one for one; norm and activation of the network stay and
follow the 1x1 convolution. The stem, 1x1 convolutions, shortcuts and grouped convolutions stay.

Choices: what stands between the two differs from author to author, so ``between`` says it.
MobileNet has a norm and a ReLU (the default), other networks a norm alone (the DiCENet release, for
one), or nothing. The ReLU is one whatever the network's own activations are. Initial weights are
after He et al., fan out.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from backbones.dense_spatial import is_dense_spatial
from backbones.method import Method, MethodSettings
from backbones.sites import Site, Slot


class Settings(MethodSettings):
    """Settings of the depthwise-separable convolution."""

    between: Literal["norm_act", "norm", "nothing"] = Field(
        "norm_act",
        description="What stands between the two convolutions: a norm and a ReLU (MobileNet), a "
        "norm, or nothing.",
    )


def takes(site: Site, settings: Settings) -> bool:
    """Take dense convolutions above 1x1."""
    del settings
    return is_dense_spatial(site)


METHOD = Method(
    title="Depthwise-separable convolution",
    arxiv="1704.04861",
    venue="Howard et al., 2017",
    family="static",
    slot=Slot.CONV,
    settings=Settings,
    takes=takes,
)
