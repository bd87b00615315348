"""Squeeze-and-Excitation (Hu, Shen, Sun; CVPR 2018; arXiv 1709.01507).

A gate after the last normalisation of each residual block, before the sum: in ResNets on the
block's output channels, in MobileNetV2 on the channels of the projection (where the ECA paper puts
it with r = 8; MobileNetV3 gates the expanded channels).

The defaults have no biases and do not round C / r: only so do the parameter counts equal the tables
of the ECA and KernelWarehouse papers (ResNet-50: 28,071,976). ``se(bias=true,divisor=8)`` is timm's
``seresnet50`` (28,088,024).

``reduction=none`` is the ECA paper's dissection (its Table 2): one matrix W from the C means to the
C logits instead of two with a squeeze between them. ``matrix`` says which numbers of it are
learned: all (SE-Var3), the diagonal (SE-Var2), blocks along it (SE-GC), or none of them, so that
W = 1 (SE-Var1). How those were initialised is not published; PyTorch's default stands here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from backbones.errors import SettingError
from backbones.method import Method, MethodSettings
from backbones.sites import Site, Slot

_GROUPS = 16


class Settings(MethodSettings):
    """Settings of SE."""

    reduction: int | None = Field(
        default=16,
        ge=1,
        description="Reduction ratio (r): C channels are squeezed to C / r, at least 1; none: one "
        "matrix (W) in place of squeeze and excitation.",
    )
    matrix: Literal["full", "diagonal", "blocks", "identity"] = Field(
        default="full",
        description="What is learned of that matrix: all, the diagonal, blocks along it, or "
        "nothing (identity); only for reduction=none.",
    )
    groups: int = Field(
        default=_GROUPS,
        ge=1,
        description="Blocks of the matrix (G), as groups of a convolution; only for matrix=blocks.",
    )
    block: int | None = Field(
        default=None,
        ge=1,
        description="Channels of a block in place of their number, so that G = C / block: 16 is "
        "SE-GC2, 8 is SE-GC3; only for matrix=blocks.",
    )
    bias: bool = Field(
        default=False,
        description="Whether the linear layers have biases: timm's have, the papers' not.",
    )
    divisor: int = Field(
        default=1,
        ge=1,
        le=256,
        description="C / r is rounded to a multiple of this, at least one; timm's is 8.",
    )

    @model_validator(mode="after")
    def _each_setting_acts(self) -> Self:
        squeezes, blocks = self.reduction is not None, self.matrix == "blocks"
        for wrong, message in (
            (
                squeezes and self.matrix != "full",
                f"matrix={self.matrix} acts without a squeeze only; add reduction=none",
            ),
            (
                not blocks and (self.block is not None or self.groups != _GROUPS),
                "groups and block act on matrix=blocks only; add reduction=none,matrix=blocks",
            ),
            (
                self.block is not None and self.groups != _GROUPS,
                f"block={self.block} and groups={self.groups} both say how large blocks are; "
                "leave out one",
            ),
            (
                not squeezes and self.divisor != 1,
                f"divisor={self.divisor} rounds C / r, but reduction=none; leave it out",
            ),
            (
                self.matrix == "identity" and self.bias,
                "matrix=identity learns nothing, so it has no bias; leave bias out",
            ),
        ):
            if wrong:
                raise ValueError(message)
        return self


def blocks(channels: int, settings: Settings) -> int:
    """Return the blocks of the matrix along its diagonal, from one to one for each channel.

    Args:
        channels: Channels of the map (C).
        settings: With ``reduction=none`` and something to learn, checked against the sites.
    """
    if settings.matrix == "blocks":
        return settings.groups if settings.block is None else channels // settings.block
    return channels if settings.matrix == "diagonal" else 1


def _whole_blocks(sites: Sequence[Site], settings: Settings) -> None:
    if settings.matrix != "blocks":
        return
    name = "groups" if settings.block is None else "block"
    size = settings.groups if settings.block is None else settings.block
    for site in sites:
        if site.out_channels % size:
            raise SettingError(
                f"se({name}={size}): {site.block_name} has {site.out_channels} channels; "
                f"expected a number that divides those of every block"
            )


_MOBILENET_V2 = ("035", "050", "075", "100", "110d", "120d", "140")

METHOD = Method(
    title="Squeeze-and-Excitation",
    arxiv="1709.01507",
    venue="Hu et al., CVPR 2018",
    family="attention",
    slot=Slot.GATE,
    settings=Settings,
    presets={f"mobilenetv2_{width}": {"reduction": 8} for width in _MOBILENET_V2},
    check=_whole_blocks,
)
