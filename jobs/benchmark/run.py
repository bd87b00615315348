"""Measure a backbone beside its plain network: memory, then paired times, then one row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from backbones.build import build
from backbones.cost import cost
from backbones.errors import BackboneError
from backbones.resolve import resolve
from jobs import device as devices
from jobs.benchmark import BenchmarkSpec
from jobs.benchmark.memory import CPU_NOTE, PeakMemory
from jobs.benchmark.row import make_row, measured
from jobs.benchmark.timing import Forward, Stopwatch, time_paired
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
    device = torch.device(context.device)
    notes = _notes(spec, context)
    figures: dict[str, float] = {}
    repeats, settled = 0, False
    peak = PeakMemory(device)
    tried = "this backbone"
    try:
        inputs = _inputs(spec, device)
        stopwatch = Stopwatch(inputs, device=device)
        context.status("building the backbone and measuring its memory")
        with peak:
            network = _network(spec, spec.backbone, context)
            first = _forward(spec, network, context)
            _pass_over(first, inputs)
        figures["peak_memory_mib"] = peak.mib
        _tell(context, step=1)
        tried = "its plain network beside it"
        second = _forward(spec, _network(spec, str(resolve(spec.backbone).plain), context), context)
        context.status(f"timing both networks for about {spec.budget_s:g} s")
        paired = time_paired(
            (first, second), stopwatch, budget_s=spec.budget_s, min_repeats=spec.min_repeats
        )
        figures = measured(paired, batch=spec.batch, peak_memory_mib=peak.mib, seed=spec.seed)
        repeats, settled = paired.first.size, paired.settled
        if not settled:
            notes.append("times had not settled when the warm-up's share of the budget was spent")
    except (RuntimeError, MemoryError) as error:
        if not devices.is_out_of_memory(error):
            raise
        notes.append(f"out of memory: {tried} does not fit at batch {spec.batch}")
    _tell(context, step=2)
    return make_row(
        spec,
        device=context.device,
        device_name=devices.name(context.device),
        figures=figures,
        repeats=repeats,
        settled=settled,
        notes=notes,
    )


def _network(spec: BenchmarkSpec, backbone: str, context: JobContext) -> nn.Module:
    try:
        network = build(
            backbone,
            classes=spec.classes,
            image_size=spec.image_size,
            seed=spec.seed,
            device=context.device,
        )
    except BackboneError as error:
        raise SpecError(str(error)) from error
    # frozen statistics, as in use: a batch of one could not be normalised by itself
    return network.to(memory_format=_layout(spec)).eval()


def _forward(spec: BenchmarkSpec, network: nn.Module, context: JobContext) -> Forward:
    def forward(batch: Tensor) -> object:
        with devices.mixed(spec.precision, device=context.device):
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
