"""Squeeze-and-Excitation (Hu, Shen, Sun; CVPR 2018; arXiv 1709.01507).

A gate after the last normalisation of each residual block, before the sum: in ResNets on the
block's output channels, in MobileNetV2 on the channels of the projection (where the ECA paper puts
it with r = 8; MobileNetV3 gates the expanded channels).

The defaults have no biases and do not round C / r: only so do the parameter counts equal the tables
of the ECA and KernelWarehouse papers (ResNet-50: 28,071,976). ``se(bias=true,divisor=8)`` is timm's
``seresnet50`` (28,088,024).
"""

from __future__ import annotations

from pydantic import Field

from backbones.method import Method, MethodSettings
from backbones.sites import Slot


class Settings(MethodSettings):
    """Settings of SE."""

    reduction: int = Field(
        default=16,
        ge=1,
        description="Reduction ratio (r): C channels are squeezed to C / r, at least 1.",
    )
    bias: bool = Field(
        default=False,
        description="Whether both linear layers have biases: timm's have, the papers' not.",
    )
    divisor: int = Field(
        default=1,
        ge=1,
        description="C / r is rounded to a multiple of this, at least one; timm's is 8.",
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
)
