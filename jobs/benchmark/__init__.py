"""Measure how fast a backbone runs on the device at hand, beside its plain network. Light half."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from jobs.backbone import BackboneText, backbone_of
from jobs.job import JobKind, Resources, Spec


class BenchmarkSpec(Spec):
    """One protocol: what is measured, and how."""

    backbone: BackboneText
    batch: int = Field(default=1, ge=1, description="Images of one forward pass.")
    image_size: int = Field(default=224, ge=8, description="Height and width of the input, px.")
    classes: int = Field(default=1000, ge=1, description="Width of the classifier.")
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
        "channels-last whatever the layout.",
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
        description="Seconds for warm-up and timing of both networks; `min_repeats` may exceed it.",
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Of weights and inputs.")


KIND = JobKind(
    spec=BenchmarkSpec,
    summary="measure latency, throughput and memory of a backbone beside its plain network",
    backbone_of=backbone_of,
    resources=Resources(workers=1, cpus=1.0),
    exclusive=True,
)
