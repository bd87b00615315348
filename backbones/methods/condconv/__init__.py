"""CondConv: conditionally parameterized convolutions (Yang et al., NeurIPS 2019).

arXiv 1904.04971. The convolutions of a network's last residual blocks and the classifier mix
experts; one router for a whole block, on the block's input, weighs the experts of all its
convolutions, and the classifier has a router of its own. Shortcuts, attentions and what stands
before and after those blocks stay.

How many blocks change is known from code and counts: on ResNets three and the classifier, which
gives the 81.35 M parameters of ResNet-18 and the 90.0 M that ResNet-50 gains without its
classifier; on MobileNetV2 six and a classifier without bias (d-li14/condconv.pytorch; the paper's
own 27.5 M needs more layers, and which is not known); on EfficientNet the last three stages with a
static classifier (timm's ``tf_efficientnet_cc_*``). Any other network follows the ResNets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from backbones.method import Method, MethodSettings
from backbones.sites import Role, Site, Slot

_STATIC = {Role.STEM, Role.SHORTCUT, Role.ATTENTION}


class Settings(MethodSettings):
    """Settings of CondConv."""

    experts: int = Field(8, ge=1, le=128, description="Experts that are mixed (n).")
    blocks: int = Field(
        3,
        ge=0,
        description="Last residual blocks whose convolutions change; all of them when there are "
        "fewer.",
    )
    classifier: bool = Field(True, description="Whether the classifier changes.")
    bias: Literal["shared", "experts", "none"] = Field(
        "shared",
        description="Bias of a changed layer that had one: one for all experts, one for each, or "
        "none.",
    )
    routing: Literal["sigmoid", "softmax"] = Field(
        "sigmoid", description="From the router's logits to the weights of the experts."
    )


def takes(site: Site, settings: Settings) -> bool:
    """Take the convolutions within blocks, and the classifier."""
    if site.role is Role.CLASSIFIER:
        return settings.classifier and site.kind == "linear"
    return site.kind == "conv2d" and site.block_in_channels > 0 and site.role not in _STATIC


def narrow(sites: Sequence[Site], settings: Settings) -> list[Site]:
    """Leave the sites of the last blocks, and the classifier."""
    blocks = list(dict.fromkeys(site.block_name for site in sites if site.block_name))
    last = set(blocks[-settings.blocks :]) if settings.blocks else set()
    return [site for site in sites if not site.block_name or site.block_name in last]


_MOBILENET_V2 = ("035", "050", "075", "100", "110d", "120d", "140")
_LAST_STAGES = {"b0": 8, "b1": 11, "b2": 11, "b3": 13, "b4": 16}
"""Blocks in the last three stages of EfficientNets."""

METHOD = Method(
    title="CondConv",
    arxiv="1904.04971",
    venue="Yang et al., NeurIPS 2019",
    family="dynamic",
    slot=Slot.CONV,
    settings=Settings,
    takes=takes,
    narrow=narrow,
    presets={
        **{f"mobilenetv2_{width}": {"blocks": 6, "bias": "none"} for width in _MOBILENET_V2},
        **{
            f"efficientnet_{size}": {"blocks": blocks, "classifier": False}
            for size, blocks in _LAST_STAGES.items()
        },
    },
)
