"""From what a user typed to runs that the store may take: all is checked, nothing written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backbones.errors import near
from convoy.errors import SubmissionError
from convoy.provenance import code_version
from convoy.records import NewRun, Run
from convoy.states import RunState
from jobs import job
from jobs.data.source import EMBEDDED, class_names, short_name
from jobs.job import JobKind, Resources, Spec
from jobs.recipes import TrainingRecipe

CPUS_MOST = 4096
PRIORITY_MOST = 1_000_000
NAME_MOST = 200


@dataclass(frozen=True)
class Wishes:
    """What stands beside the spec in a submission; None leaves the kind's default.

    Attributes:
        owner: Who submits.
        name: What the owner calls it.
        priority: Higher goes first.
        workers: Processes that train together.
        cpus: Cores of each worker.
        gpus: GPUs of each worker.
        after: Runs that must succeed first.
        key: Idempotency key; of several runs the n-th gets ``key#n``.
        study: Study that the runs belong to.
    """

    owner: str
    name: str = ""
    priority: int = 0
    workers: int | None = None
    cpus: float | None = None
    gpus: float | None = None
    after: tuple[int, ...] = ()
    key: str | None = None
    study: str = ""


def prepare(
    kind: str,
    values: Mapping[str, Any],
    *,
    wishes: Wishes,
    backbones: Sequence[str] = (),
    seeds: Sequence[int] = (),
) -> list[NewRun]:
    """Check a submission and make its runs: one for each backbone and seed.

    Args:
        kind: Kind of run.
        values: Fields of its spec, as `values.read_values` gives them.
        wishes: What stands beside the spec.
        backbones: Backbones, each to be tried with the same other values; empty: the one among
            `values`.
        seeds: Seeds, likewise.

    Raises:
        JobError: The kind, a field, or the data are wrong.
        BackboneError: A backbone is unknown, or its method finds nothing to replace.
        SubmissionError: Resources or priority are out of range, a name cannot be shown, or the same
            thing is said twice.
    """
    job_kind = job.get(kind)
    _check_words(wishes)
    resources = resources_of(job_kind, wishes)
    variants = list(_variants(kind, values, backbones=backbones, seeds=seeds))
    specs = [job.read_spec(kind, variant) for variant in variants]
    for spec in _distinct(specs):
        _check(job_kind, spec, workers=resources.workers)
    _refuse_twins(specs, variants)
    keys = _keys(wishes.key, len(specs))
    return [
        new_run(kind, spec, wishes=wishes, resources=resources, key=key)
        for spec, key in zip(specs, keys, strict=True)
    ]


def new_run(
    kind: str,
    spec: Spec,
    *,
    wishes: Wishes,
    resources: Resources,
    key: str | None = None,
    retry_of: int | None = None,
) -> NewRun:
    """Make the record of a checked spec."""
    backbone_of = job.get(kind).backbone_of
    return NewRun(
        kind=kind,
        spec=spec.model_dump(mode="json"),
        spec_hash=spec.digest(),
        resources=resources,
        owner=wishes.owner,
        name=wishes.name,
        backbone=backbone_of(spec) if backbone_of else "",
        data=short_name(str(getattr(spec, "data", "") or "")),
        recipe=str(getattr(getattr(spec, "recipe", None), "name", "") or ""),
        priority=wishes.priority,
        key=key,
        depends_on=tuple(dict.fromkeys((*wishes.after, *parents_of(kind, spec)))),
        retry_of=retry_of,
        code=code_version(),
        study=wishes.study,
    )


def retry(ended: Run, *, wishes: Wishes) -> NewRun:
    """Make a run that takes up an ended one, from its last checkpoint and with its spec.

    Args:
        ended: A run that failed or was cancelled.
        wishes: Resources given here replace the ended run's; an empty name and study are taken from
            it.

    Raises:
        SubmissionError: The run lives still, or succeeded.
        JobError: Its spec does not read any more (the code has changed), or its data are gone.
    """
    if not ended.state.is_final:
        raise SubmissionError(
            f"run {ended.id} is {ended.state}; only an ended run is retried "
            f"(platform cancel {ended.id} ends it)"
        )
    if ended.state is RunState.SUCCEEDED:
        raise SubmissionError(
            f"run {ended.id} has succeeded; there is nothing to retry (platform show {ended.id})"
        )
    kind = job.get(ended.kind)
    spec = job.read_spec(ended.kind, ended.spec)
    resources = resources_of(dataclasses.replace(kind, resources=ended.resources), wishes)
    _check(kind, spec, workers=resources.workers)
    kept = dataclasses.replace(
        wishes,
        name=wishes.name or ended.name,
        study=wishes.study or ended.study,
        priority=wishes.priority or ended.priority,
        after=wishes.after or ended.depends_on,
    )
    return new_run(ended.kind, spec, wishes=kept, resources=resources, retry_of=ended.id)


def resources_of(kind: JobKind, wishes: Wishes) -> Resources:
    """Return what a run will take.

    Raises:
        SubmissionError: An amount is out of range.
    """
    asked = {
        name: value
        for name in ("workers", "cpus", "gpus")
        if (value := getattr(wishes, name)) is not None
    }
    least = {"workers": 1, "cpus": 0.01, "gpus": 0}
    for name, value in asked.items():
        if not least[name] <= value <= CPUS_MOST:
            raise SubmissionError(
                f"{name} is {value:g}; it must be from {least[name]} to {CPUS_MOST}"
            )
    return dataclasses.replace(kind.resources, **asked)


def parents_of(kind: str, spec: Spec | Mapping[str, Any]) -> tuple[int, ...]:
    """Return the numbers of the runs that a spec, checked or as stored, starts from."""
    find = job.get(kind).parents_of
    if find is None:
        return ()
    return find(spec if isinstance(spec, Spec) else job.read_spec(kind, spec))


def _check_words(wishes: Wishes) -> None:
    if abs(wishes.priority) > PRIORITY_MOST:
        raise SubmissionError(
            f"priority is {wishes.priority}; it must be from {-PRIORITY_MOST} to {PRIORITY_MOST}"
        )
    if wishes.key == "":
        raise SubmissionError("the key is empty, so it would not hold back a second run; name one")
    for what in ("name", "study", "key"):
        text = getattr(wishes, what) or ""
        if len(text) > NAME_MOST:
            raise SubmissionError(
                f"{what} has {len(text)} characters; it may have up to {NAME_MOST}"
            )
        if not text.isprintable():
            raise SubmissionError(
                f"{what} {text!r} holds characters that a terminal does not print; leave them out"
            )


def _variants(
    kind: str, values: Mapping[str, Any], *, backbones: Sequence[str], seeds: Sequence[int]
) -> list[dict[str, Any]]:
    if backbones and "backbone" in values:
        raise SubmissionError(
            "backbones are given as arguments and by --set or --file; say it in one place"
        )
    if seeds and "seed" in values:
        raise SubmissionError(
            "seeds are given by --seeds and by --set or --file; say it in one place"
        )
    fields = job.get(kind).spec.model_fields
    for field, given in (("backbone", backbones), ("seed", seeds)):
        if given and field not in fields:
            raise SubmissionError(f"{kind} has no field {field!r}; {near(field, fields)}")
    variants = [{**values, "backbone": text} for text in backbones] or [dict(values)]
    return [{**variant, "seed": seed} for variant in variants for seed in seeds] or variants


def _distinct(specs: Sequence[Spec]) -> list[Spec]:
    """Return one spec for each backbone and data, since seeds need no check of their own."""
    return list(
        {
            spec.derive(seed=0).digest() if hasattr(spec, "seed") else spec.digest(): spec
            for spec in specs
        }.values()
    )


def _check(kind: JobKind, spec: Spec, *, workers: int) -> None:
    """Do the light checks: data in place, methods that find sites, workers that share a batch."""
    recipe = getattr(spec, "recipe", None)
    if isinstance(recipe, TrainingRecipe):
        recipe.accumulation(workers)
    if kind.precheck:
        kind.precheck(spec)
    if kind.backbone_of:
        from backbones import check  # its look-up tables are for submissions only

        check.check(kind.backbone_of(spec))


def image_size_of(spec: Spec, default: int = 224) -> int:
    """Return the image size that a spec trains or measures at, in pixels."""
    holder = getattr(spec, "recipe", None) or spec
    return int(getattr(spec, "image_size", None) or getattr(holder, "image_size", None) or default)


def classes_of(spec: Spec, default: int = 1000) -> int:
    """Return how many classes a spec is about: its own field, or what its data name."""
    if given := getattr(spec, "classes", None):
        return int(given)
    data = str(getattr(spec, "data", ""))
    if data in EMBEDDED:
        return EMBEDDED[data].classes
    return len(class_names(Path(data))) if data else default


def _refuse_twins(specs: Sequence[Spec], variants: Sequence[Mapping[str, Any]]) -> None:
    seen: dict[str, Mapping[str, Any]] = {}
    for spec, variant in zip(specs, variants, strict=True):
        if (first := seen.setdefault(spec.digest(), variant)) is not variant:
            raise SubmissionError(
                "the same experiment stands twice in this submission: "
                f"{_name(first)} and {_name(variant)}"
            )


def _name(variant: Mapping[str, Any]) -> str:
    seed = f" seed {variant['seed']}" if "seed" in variant else ""
    return f"{variant.get('backbone', 'the spec')}{seed}"


def _keys(key: str | None, count: int) -> list[str | None]:
    if key is None or count == 1:
        return [key] * count
    return [f"{key}#{number}" for number in range(1, count + 1)]
