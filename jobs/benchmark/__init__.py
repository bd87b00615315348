"""Measure how fast a backbone runs on the device at hand, beside its plain network. Light half.

By itself, or as the backbone of a detector: then both the detector from end to end and its backbone
alone are measured.
"""

from __future__ import annotations

from functools import partial
from operator import eq, is_
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from jobs.backbone import BackboneText, backbone_of
from jobs.job import JobKind, Resources, Spec

NO_DETECTOR: Final = "none"

_USUAL: dict[str, int] = {"image_size": 800, "image_width": 1280, "classes": 80}
"""What detectors are counted and measured at by the field: COCO's categories at mmdet's size."""

_IS_NONE = partial(is_, None)
_Size = Annotated[int | None, Field(ge=1, exclude_if=_IS_NONE)]


class DetectorSizes(BaseModel):
    """How large the parts of a detector are; None is what mmdet has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    feature_channels: _Size = Field(
        default=None, description="Channels of the pyramid's maps (256)."
    )
    hidden_channels: _Size = Field(
        default=None, description="Width of the layers that classify a region (1024)."
    )
    mask_channels: _Size = Field(
        default=None,
        description="Channels of the convolutions that draw a mask (256).",
    )
    mask_convolutions: _Size = Field(default=None, description="How many those are (4).")
    proposals_before: _Size = Field(
        default=None,
        description="Proposals per level before suppression (1000).",
    )
    proposals: _Size = Field(
        default=None,
        description="Regions that are classified in an image (1000).",
    )
    detections: _Size = Field(
        default=None,
        description="Objects that are found in an image (100).",
    )

    @property
    def changed(self) -> dict[str, int]:
        """Those that are not mmdet's."""
        return self.model_dump()


class BenchmarkSpec(Spec):
    """One protocol: what is measured, and how."""

    backbone: BackboneText
    detector: Literal["none", "mask_rcnn", "faster_rcnn"] = Field(
        default=NO_DETECTOR,
        exclude_if=partial(eq, NO_DETECTOR),
        description="Detector around the backbone; none: the network by itself, with classifier.",
    )
    batch: int = Field(default=1, ge=1, description="Images of one forward pass.")
    image_size: int = Field(
        default=224,
        ge=8,
        description="Height and width of the input, px; of a detector's input the height (800).",
    )
    image_width: int | None = Field(
        default=None,
        ge=8,
        exclude_if=_IS_NONE,
        description="Width of a detector's input, px; 1.6 times the height unless given.",
    )
    classes: int = Field(
        default=1000, ge=1, description="Width of the classifier; a detector's categories (80)."
    )
    sizes: DetectorSizes = Field(
        default=DetectorSizes(),
        exclude_if=partial(eq, DetectorSizes()),
        description="Parts of the detector that are not as mmdet has them.",
    )
    output_norms: bool = Field(
        default=False,
        exclude_if=partial(eq, False),
        description="Whether each map that a detector takes passes a LayerNorm, as ConvNeXt's do.",
    )
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = Field(
        default="fp32",
        description="Arithmetic: IEEE single; single with TF32 products (GPU); automatic casts to "
        "bfloat16; to half precision (GPU).",
    )
    memory_format: Literal["nchw", "nhwc"] = Field(
        default="nchw", description="Layout of maps and kernels in memory; nhwc: channels last."
    )
    engine: Literal["eager", "fused"] = Field(
        default="eager",
        description="How both networks are executed: as they are trained; with norms and "
        "activations folded into convolutions and branches merged (fused), where a CPU has maps "
        "channels-last whatever the layout. Detectors: eager.",
    )
    threads: int = Field(
        default=1, ge=1, description="Torch threads on a CPU; part of the protocol."
    )
    min_repeats: int = Field(
        default=30, ge=10, description="Timed passes of each network, at the least."
    )
    budget_s: float = Field(
        default=10.0,
        gt=0,
        description="Seconds for warm-up and timing of both networks; `min_repeats` may exceed it. "
        "Of a detector, half are for the backbone alone.",
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Of weights and inputs.")

    @model_validator(mode="before")
    @classmethod
    def _usual_for_detectors(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("detector", NO_DETECTOR) == NO_DETECTOR:
            return values
        usual = dict(_USUAL)
        if isinstance(height := values.get("image_size"), int):
            usual["image_width"] = max(8, 8 * height // 5)
        return {**usual, **values}

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.detector != NO_DETECTOR:
            if self.engine != "eager":
                raise ValueError(f"engine is {self.engine}, but detectors run eager; leave it away")
            return self
        for name in ("image_width", "sizes", "output_norms"):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} is for detectors; name one (detector=mask_rcnn)")
        return self

    @property
    def height_width(self) -> tuple[int, int]:
        """Size of the input, pixels."""
        return self.image_size, self.image_width or self.image_size


KIND = JobKind(
    spec=BenchmarkSpec,
    summary="measure latency, throughput and memory of a backbone beside its plain network",
    backbone_of=backbone_of,
    resources=Resources(workers=1, cpus=1.0),
    exclusive=True,
)
