"""Settings of KernelWarehouse, each with the paper's symbol. No torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from backbones.method import MethodSettings

Layout = Literal["general", "resnet", "bottleneck", "mobilenetv2", "convnext", "transformer"]


class Settings(MethodSettings):
    """What can be chosen; the defaults are the released choices.

    A setting that is None by default follows from the layout and the budget, as in the released
    configurations.
    """

    budget: float = Field(
        1.0,
        gt=0,
        le=64,
        description="Convolutional parameter budget (b), cells per mixture: a whole number, or 1/M "
        "such as 0.5 and 0.25.",
    )
    reduction: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Hidden width of the attention over its input channels (r), at least 16 wide; "
        "1/16, on MobileNetV2 below budget 1 it is 1/32.",
    )
    cell_out_ratio: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Output channels of a cell over the greatest common divisor of its layers'; 1, "
        "below budget 1 it is 0.5.",
    )
    cell_in_ratio: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Input channels of a cell over the greatest common divisor of its layers'; 1, "
        "below budget 1 it is 0.5.",
    )
    far_ratio: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Basis vectors for the logits of cells that other layers own, over the number "
        "of those (rho); 1 is no compression, bottleneck ResNets below budget 1 have 1/16.",
    )
    temperature: float = Field(
        1.0, ge=0, le=1, description="Weight of the start-up assignment at the first step (tau_0)."
    )
    temperature_epochs: int = Field(
        20, ge=0, description="Epochs in which that weight falls linearly to 0; 15 on MobileNetV2."
    )
    attention: Literal["contrasting", "softmax", "sigmoid", "none"] = Field(
        "contrasting",
        description="From logits z to attentions: z over the sum of |z| (contrasting), softmax, "
        "sigmoid, or z itself (none).",
    )
    attention_norm: Literal["batch", "layer"] = Field(
        "batch",
        description="Normalisation inside the attention; ConvNeXt and transformers have layer.",
    )
    startup: Literal["one_to_one", "all_to_one", "several_to_one", "one_to_two", "none"] = Field(
        "one_to_one",
        description="Cells that each mixture starts from (beta): one of its own, all, every one of "
        "its own, one for two mixtures, none.",
    )
    sharing: Literal["stage", "layer", "none"] = Field(
        "stage",
        description="What draws on the same cells: the layers of a stage, the mixtures of a "
        "layer, or nothing, so that each mixture has b cells of its own (our reading of none).",
    )
    partition: bool = Field(
        True,
        description="Cut kernels into cells; false makes each kernel one cell, shared by layers of "
        "one shape.",
    )
    layout: Layout = Field(
        "general", description="Rules of the network's family for what is replaced and what shares."
    )
    stage3: Literal["released", "split"] = Field(
        "released",
        description="ConvNeXt's third stage: one group of warehouses (released) or one for every "
        "three blocks (split).",
    )

    @property
    def reduction_ratio(self) -> float:
        """`reduction`, or what the release uses here."""
        if self.reduction is not None:
            return self.reduction
        return 1 / 32 if self.layout == "mobilenetv2" and self.budget < 1 else 1 / 16

    @property
    def basis_ratio(self) -> float:
        """`far_ratio`, or what the release uses here."""
        if self.far_ratio is not None:
            return self.far_ratio
        return 1 / 16 if self.layout == "bottleneck" and self.budget < 1 else 1.0
