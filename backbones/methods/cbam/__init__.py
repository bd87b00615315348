"""CBAM, Convolutional Block Attention Module (Woo et al., ECCV 2018, arXiv 1807.06521).

Two gates after the last normalisation of each residual block, before the sum. The first weighs
channels, by a two-layer perceptron that sees their means and their maxima; the second weighs
places, by a convolution that sees the maximum and the mean of the channels there.

``form`` says whose. The authors': biases in the perceptron, C / r rounded down; maximum before
mean; the norm of the second gate has momentum 0.01 and starts at 0, so that this gate starts at one
half. timm's: no biases, C / r to the nearest; mean before maximum; the usual norm.

Either gate can be left out. In training the norm of a second gate over one number, which has
nothing to normalise by, takes its running statistics.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from backbones.method import Method, MethodSettings
from backbones.sites import Slot

_REDUCTION, _KERNEL = 16, 7


class Settings(MethodSettings):
    """Settings of CBAM."""

    reduction: int = Field(
        default=_REDUCTION,
        ge=1,
        description="Reduction ratio (r): the perceptron has C / r hidden units, at least 1.",
    )
    kernel: int = Field(
        default=_KERNEL,
        ge=1,
        le=31,
        description="Kernel of the convolution of the second gate, odd.",
    )
    channel: bool = Field(default=True, description="Whether channels are weighed (first gate).")
    spatial: bool = Field(default=True, description="Whether places are weighed (second gate).")
    form: Literal["authors", "timm"] = Field(
        default="authors",
        description="Whose: authors have biases in the perceptron, the maximum before the mean, "
        "and a norm that starts at 0; timm has none, the mean first, and a usual norm.",
    )

    @field_validator("kernel")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("expected an odd number, so that the map keeps its size")
        return value

    @model_validator(mode="after")
    def _each_setting_acts(self) -> Self:
        if not (self.channel or self.spatial):
            raise ValueError("channel=false and spatial=false leave no gate; leave out one of them")
        if not self.channel and self.reduction != _REDUCTION:
            raise ValueError("reduction acts on the first gate, but channel=false; leave it out")
        if not self.spatial and self.kernel != _KERNEL:
            raise ValueError("kernel acts on the second gate, but spatial=false; leave it out")
        return self


METHOD = Method(
    title="CBAM",
    arxiv="1807.06521",
    venue="Woo et al., ECCV 2018",
    family="attention",
    slot=Slot.GATE,
    settings=Settings,
)
