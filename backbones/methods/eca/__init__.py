"""Efficient Channel Attention (Wang et al., CVPR 2020, arXiv 1910.03151).

A gate after the last normalisation of each residual block, before the sum: one convolution of k
taps over the channel axis of the pooled map, so k parameters a block. Padding is by zeros.

The paper computes k from the width (``kernels=rule``), but the released networks do not follow that
rule: the paper's "80 parameters" for ResNet-50 are the released 3, 5, 5, 7, where the rule gives
86. The networks that were released take their own kernels by default, every other one the rule.

``shared=false`` is the paper's ECA-NS: taps of its own for each channel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

from pydantic import Field, field_validator, model_validator

from backbones.errors import SettingError
from backbones.method import Method, MethodSettings
from backbones.sites import Site, Slot

RULE = "rule"
"""Kernels by the paper's formula."""
BY_WIDTH = "by_width"
"""Kernels of the released MobileNetV2: 1 below 96 channels, else 3."""

_FORMS = f"{RULE}, {BY_WIDTH}, one odd digit for all stages, or one for each stage such as 3557"


class Settings(MethodSettings):
    """Settings of ECA."""

    kernels: int | str = Field(
        default=RULE,
        description=f"Taps (k): {_FORMS}. `{RULE}` is |(log2 C + b) / gamma| to the next odd "
        f"number; `{BY_WIDTH}` is 1 below 96 channels, else 3.",
    )
    gamma: float = Field(
        default=2, ge=0.1, le=100, description=f"Divisor in the rule (gamma); only for {RULE}."
    )
    b: float = Field(
        default=1, ge=-100, le=100, description=f"Offset in the rule (b); only for {RULE}."
    )
    shared: bool = Field(
        default=True,
        description="Whether all channels of a map share the taps; false is ECA-NS, k of them for "
        "each channel.",
    )

    @field_validator("kernels", mode="before")
    @classmethod
    def _odd_digits_or_word(cls, value: object) -> object:
        is_digits = type(value) is int and set(str(value)) <= set("13579")
        if not is_digits and value not in {RULE, BY_WIDTH}:
            raise ValueError(f"expected {_FORMS}")
        digits = str(value)
        return int(digits[0]) if is_digits and len(set(digits)) == 1 else value

    @model_validator(mode="after")
    def _rule_settings_need_the_rule(self) -> Self:
        if self.kernels != RULE and (self.gamma, self.b) != (2, 1):
            raise ValueError(
                f"gamma and b act on kernels={RULE} only, but kernels={self.kernels}; "
                f"add kernels={RULE} or leave them out"
            )
        return self


def kernel_size(channels: int, *, stage: int, settings: Settings) -> int:
    """Return the taps of a gate.

    Args:
        channels: Channels of the map (C).
        stage: Stage of the block, from 0.
        settings: Of ECA, checked against the sites.
    """
    if settings.kernels == BY_WIDTH:
        return 1 if channels < 96 else 3
    if settings.kernels == RULE:
        taps = int(abs((math.log2(channels) + settings.b) / settings.gamma))
        return taps if taps % 2 else taps + 1
    digits = str(settings.kernels)
    return int(digits[0] if len(digits) == 1 else digits[stage])


def _enough_digits(sites: Sequence[Site], settings: Settings) -> None:
    if isinstance(settings.kernels, str) or settings.kernels < 10:
        return
    stages = 1 + max((site.stage for site in sites), default=-1)
    if stages != len(str(settings.kernels)):
        raise SettingError(
            f"eca(kernels={settings.kernels}): {len(str(settings.kernels))} digits for a network "
            f"of {stages} stages; write {stages} digits, one digit for all stages, or {RULE}"
        )


_MOBILENET_V2 = ("035", "050", "075", "100", "110d", "120d", "140")

METHOD = Method(
    title="Efficient Channel Attention",
    arxiv="1910.03151",
    venue="Wang et al., CVPR 2020",
    family="attention",
    slot=Slot.GATE,
    settings=Settings,
    presets={
        "resnet18": {"kernels": 3577},
        "resnet34": {"kernels": 3357},
        "resnet50": {"kernels": 3557},
        "resnet101": {"kernels": 3357},
        "resnet152": {"kernels": 3357},
        **{f"mobilenetv2_{width}": {"kernels": BY_WIDTH} for width in _MOBILENET_V2},
    },
    check=_enough_digits,
)
