"""Measure a backbone beside its plain network: memory, then paired times, then the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from backbones.errors import BackboneError
from backbones.resolve import resolve
from detection.errors import DetectionError
from jobs import device as devices
from jobs.benchmark import NO_DETECTOR, BenchmarkSpec
from jobs.benchmark.memory import CPU_NOTE, PeakMemory
from jobs.benchmark.row import make_row, measured
from jobs.benchmark.subject import INPUTS, WHOLE, Network, Subject
from jobs.benchmark.timing import Forward, Paired, Stopwatch, time_paired
from jobs.errors import InterruptedRunError, SpecError
from jobs.job import JobContext, Json, Result

_STEPS = 2
_HEADLINE = ("p50_ms", "ratio")


def run(spec: BenchmarkSpec, context: JobContext) -> Result:
    """Measure a backbone.

    Running out of memory is a finding, told in the rows' notes, not a failure.

    Raises:
        SpecError: The backbone or the detector cannot be built, or the device lacks the arithmetic.
        InterruptedRunError: Asked to stop.
    """
    devices.require(spec.precision, device=context.device)
    torch.manual_seed(spec.seed)
    subject = _subject(spec, device=torch.device(context.device))
    try:
        costs = subject.costs()
        with devices.torch_threads(spec.threads), devices.arithmetic(spec.precision):
            rows = _measure(spec, subject, context)
    except (BackboneError, DetectionError) as error:
        raise SpecError(str(error)) from error
    facts: dict[str, Json] = {
        "task": "benchmark",
        **costs,
        "classes": spec.classes,
        "device": rows[0]["device"],
        "torch": torch.__version__,
    }
    return Result(scores=_scores(rows), facts=facts, rows=rows)


def cost_of(spec: BenchmarkSpec, *, classes: int) -> Mapping[str, Json]:
    """Return what is measured costs, under the names of facts."""
    return _subject(spec, device=torch.device("cpu")).costs()


def _subject(spec: BenchmarkSpec, *, device: torch.device) -> Subject:
    if spec.detector == NO_DETECTOR:
        return Network(spec, device=device)
    from jobs.benchmark.detector import Detector  # takes seconds to import

    return Detector(spec, name=spec.detector, device=device)


def _measure(spec: BenchmarkSpec, subject: Subject, context: JobContext) -> list[dict[str, Json]]:
    """Return a row for each part, the whole first."""
    notes = _notes(spec, context)
    timed: dict[str, Paired] = {}
    peak_memory_mib = _time(spec, subject, context, timed=timed, notes=notes)
    _tell(context, step=2)
    rows = [
        _row(
            spec,
            context,
            part=part,
            paired=timed.get(part),
            notes=[*notes, *subject.notes(part)],
        )
        for part in subject.parts
    ]
    rows[0] |= {"peak_memory_mib": peak_memory_mib}
    if context.device == "cpu":
        rows[0]["notes"].append(CPU_NOTE)
    return rows


def _time(
    spec: BenchmarkSpec,
    subject: Subject,
    context: JobContext,
    *,
    timed: dict[str, Paired],
    notes: list[str],
) -> float | None:
    """Fill in what could be timed before memory ran out, which `notes` then tell.

    Returns:
        Highest memory of the backbone (or its detector), MiB; None when it does not fit.
    """
    device = torch.device(context.device)
    peak_memory_mib = None
    tried = "this backbone"
    try:
        inputs = subject.inputs()
        context.status("building the backbone and measuring its memory")
        with PeakMemory(device) as peak:
            first = subject.make(spec.backbone)
            _pass_over(first[WHOLE], inputs[WHOLE])
        peak_memory_mib = peak.mib
        _tell(context, step=1)
        tried = "its plain network beside it"
        second = subject.make(str(resolve(spec.backbone).plain))
        context.status(f"timing both networks for about {spec.budget_s:g} s")
        for part, images in inputs.items():
            timed[part] = time_paired(
                (first[part], second[part]),
                Stopwatch(images, device=device),
                budget_s=spec.budget_s / len(inputs),
                min_repeats=spec.min_repeats,
            )
    except (RuntimeError, MemoryError) as error:
        if not devices.is_out_of_memory(error):
            raise
        notes.append(f"out of memory: {tried} does not fit at batch {spec.batch}")
    return peak_memory_mib


@torch.inference_mode()
def _pass_over(forward: Forward, inputs: Sequence[Tensor]) -> None:
    for batch in inputs:
        forward(batch)


def _row(
    spec: BenchmarkSpec,
    context: JobContext,
    *,
    part: str,
    paired: Paired | None,
    notes: Sequence[str],
) -> dict[str, Json]:
    settled = paired is not None and paired.settled
    if paired is not None and not settled:
        late = "times had not settled when the warm-up's share of the budget was spent"
        notes = [*notes, late]
    return make_row(
        spec,
        part=part,
        device=context.device,
        device_name=devices.name(context.device),
        figures={} if paired is None else measured(paired, batch=spec.batch, seed=spec.seed),
        repeats=0 if paired is None else paired.first.size,
        settled=settled,
        notes=notes,
    )


def _scores(rows: Sequence[Mapping[str, Json]]) -> dict[str, float]:
    """Return the figures that listings show; those of a part bear its name."""
    return {
        f"{row['part']}_{name}".removeprefix("_"): row[name]
        for row in rows
        for name in _HEADLINE
        if row[name] is not None
    }


def _notes(spec: BenchmarkSpec, context: JobContext) -> list[str]:
    notes = [
        f"warm-up until medians stand still; blocks in turn with the plain network; "
        f"{INPUTS} inputs in rotation; evaluation mode"
    ]
    if context.device == "cpu" and spec.threads > context.threads:
        notes.append(f"{spec.threads} threads shared {context.threads} reserved cores")
    return notes


def _tell(context: JobContext, *, step: int) -> None:
    context.report(step=step, total_steps=_STEPS, metrics={})
    if reason := context.stop_requested():
        raise InterruptedRunError(reason)
