"""Dynamic convolution: attention over convolution kernels (Chen et al., CVPR 2020).

arXiv 1912.03458. Every convolution but the stem changes, the shortcuts and depthwise ones included;
linear layers stay. There is no released code of the authors: layers, widths, initial weights and
the default schedule are those of kaijieshi7/Dynamic-convolution-Pytorch, whose ResNet-18 has the
45.47 M parameters of the tables in the ODConv and KernelWarehouse papers. The CVPR paper's own
ResNet-18 has 42.7 M, so it replaces fewer layers, and it does not say which.

The temperature is not optional: the paper reports 64.8 % with a constant 1 and 69.9 % with its
schedule (MobileNetV2 x0.5). ``schedule=linear`` is the paper's, 30 to 1 over 10 epochs with each
step; ``schedule=steps`` the code's, 34 in the first epoch and 3 less in each that follows, down
to 1.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from backbones.method import Method, MethodSettings
from backbones.sites import Role, Site, Slot

_STATIC = {Role.STEM, Role.CLASSIFIER, Role.ATTENTION}


class Settings(MethodSettings):
    """Settings of DY-Conv."""

    kernels: int = Field(4, ge=1, le=64, description="Kernels that are mixed for each image (K).")
    reduction: float = Field(
        0.25,
        gt=0,
        le=1,
        description="Hidden width of the attention over the input channels; one more than that.",
    )
    schedule: Literal["steps", "linear", "constant"] = Field(
        "steps",
        description="How the temperature falls to 1: by 3 an epoch (steps), linearly over "
        "temperature_epochs (linear), or not at all, in evaluation neither (constant).",
    )
    temperature: float | None = Field(
        None,
        ge=1,
        description="Temperature of the softmax at first (tau); 34, or 30 unless the schedule is "
        "steps.",
    )
    temperature_epochs: int = Field(
        10, ge=0, description="Epochs in which the temperature falls, where that is linear."
    )

    @property
    def initial_temperature(self) -> float:
        """`temperature`, or what goes with the schedule."""
        if self.temperature is not None:
            return self.temperature
        return 34.0 if self.schedule == "steps" else 30.0


def hidden_channels(site: Site, settings: Settings) -> int:
    """Return the hidden width of the attention."""
    return int(site.in_channels * settings.reduction) + 1


def takes(site: Site, settings: Settings) -> bool:
    """Take all convolutions but the stem."""
    del settings
    return site.kind == "conv2d" and site.role not in _STATIC


METHOD = Method(
    title="DY-Conv",
    arxiv="1912.03458",
    venue="Chen et al., CVPR 2020",
    family="dynamic",
    slot=Slot.CONV,
    settings=Settings,
    takes=takes,
)
