"""Measure a backbone beside its plain network: memory, then paired times, then one row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from backbones.build import build
from backbones.cost import cost
from backbones.errors import BackboneError
from backbones.fusion import fuse
from backbones.resolve import resolve
from jobs import device as devices
from jobs.benchmark import BenchmarkSpec
from jobs.benchmark.memory import CPU_NOTE, PeakMemory
from jobs.benchmark.row import make_row, measured
from jobs.benchmark.timing import Forward, Paired, Stopwatch, time_paired
from jobs.errors import InterruptedRunError, SpecError
from jobs.job import JobContext, Json, Result

_INPUTS = 4
_STEPS = 2


def run(spec: BenchmarkSpec, context: JobContext) -> Result:
    """Measure a backbone.

    Running out of memory is a finding, told in the row's notes, not a failure.

    Raises:
        SpecError: The backbone cannot be built, or the device lacks the arithmetic.
        InterruptedRunError: Asked to stop.
    """
    devices.require(spec.precision, device=context.device)
    torch.manual_seed(spec.seed)
    try:
        costs = cost(spec.backbone, classes=spec.classes, image_size=spec.image_size)
    except BackboneError as error:
        raise SpecError(str(error)) from error
    with devices.torch_threads(spec.threads), devices.arithmetic(spec.precision):
        row = _measure(spec, context)
    facts: dict[str, Json] = {
        "task": "benchmark",
        "params": costs.params,
        "madds": costs.madds,
        "madds_assembly": costs.madds_assembly,
        "image_size": spec.image_size,
        "classes": spec.classes,
        "device": row["device"],
        "torch": torch.__version__,
    }
    found = {name: row[name] for name in ("p50_ms", "ratio") if row[name] is not None}
    return Result(scores=found, facts=facts, rows=[row])


def _measure(spec: BenchmarkSpec, context: JobContext) -> dict[str, Json]:
    notes = _notes(spec, context)
    figures, paired = _figures(spec, context, notes=notes)
    _tell(context, step=2)
    if paired is not None and not paired.settled:
        notes.append("times had not settled when the warm-up's share of the budget was spent")
    return make_row(
        spec,
        device=context.device,
        device_name=devices.name(context.device),
        figures=figures,
        repeats=0 if paired is None else paired.first.size,
        settled=paired is not None and paired.settled,
        notes=notes,
    )


def _figures(
    spec: BenchmarkSpec, context: JobContext, *, notes: list[str]
) -> tuple[dict[str, float], Paired | None]:
    """Return what could be measured before memory ran out, which `notes` then tell."""
    device = torch.device(context.device)
    figures: dict[str, float] = {}
    tried = "this backbone"
    try:
        inputs = _inputs(spec, device)
        context.status("building the backbone and measuring its memory")
        with PeakMemory(device) as peak:
            network = _network(spec, spec.backbone, device=context.device)
            first = _forward(spec, network, device=context.device)
            _pass_over(first, inputs)
        figures["peak_memory_mib"] = peak.mib
        _tell(context, step=1)
        tried = "its plain network beside it"
        plain = _network(spec, str(resolve(spec.backbone).plain), device=context.device)
        second = _forward(spec, plain, device=context.device)
        context.status(f"timing both networks for about {spec.budget_s:g} s")
        paired = time_paired(
            (first, second),
            Stopwatch(inputs, device=device),
            budget_s=spec.budget_s,
            min_repeats=spec.min_repeats,
        )
    except (RuntimeError, MemoryError) as error:
        if not devices.is_out_of_memory(error):
            raise
        notes.append(f"out of memory: {tried} does not fit at batch {spec.batch}")
        return figures, None
    timed = measured(paired, batch=spec.batch, peak_memory_mib=peak.mib, seed=spec.seed)
    return timed, paired


def _network(spec: BenchmarkSpec, backbone: str, *, device: str) -> nn.Module:
    try:
        network = build(
            backbone,
            classes=spec.classes,
            image_size=spec.image_size,
            seed=spec.seed,
            device=device,
        )
    except BackboneError as error:
        raise SpecError(str(error)) from error
    # frozen statistics, as in use: a batch of one could not be normalised by itself
    network = network.to(memory_format=_layout(spec)).eval()
    if spec.engine == "fused":
        return fuse(network, image_size=spec.image_size, in_place=True)
    return network


def _forward(spec: BenchmarkSpec, network: nn.Module, *, device: str) -> Forward:
    def forward(batch: Tensor) -> object:
        with devices.mixed(spec.precision, device=device):
            return network(batch)

    return forward


@torch.inference_mode()
def _pass_over(forward: Forward, inputs: Sequence[Tensor]) -> None:
    for batch in inputs:
        forward(batch)


def _inputs(spec: BenchmarkSpec, device: torch.device) -> list[Tensor]:
    generator = torch.Generator().manual_seed(spec.seed)
    shape = (spec.batch, 3, spec.image_size, spec.image_size)
    return [
        torch.randn(shape, generator=generator).to(device, memory_format=_layout(spec))
        for _ in range(_INPUTS)
    ]


def _layout(spec: BenchmarkSpec) -> torch.memory_format:
    return torch.channels_last if spec.memory_format == "nhwc" else torch.contiguous_format


def _notes(spec: BenchmarkSpec, context: JobContext) -> list[str]:
    notes = [
        f"warm-up until medians stand still; blocks in turn with the plain network; "
        f"{_INPUTS} inputs in rotation; evaluation mode"
    ]
    if context.device == "cpu":
        notes.append(CPU_NOTE)
        if spec.threads > context.threads:
            notes.append(f"{spec.threads} threads shared {context.threads} reserved cores")
    return notes


def _tell(context: JobContext, *, step: int) -> None:
    context.report(step=step, total_steps=_STEPS, metrics={})
    if reason := context.stop_requested():
        raise InterruptedRunError(reason)
