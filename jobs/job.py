"""The contract between a kind of run and whoever runs it.

A kind is a folder here: ``__init__.py`` (no torch) holds `KIND` with the spec's model, ``run.py``
holds
``run(spec, context) -> Result`` and, where there is something to look at first, ``check(spec,
context)``.
A job never imports convoy or Ray, never reads the environment, never opens the store.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol, Self

from pydantic import BaseModel, ConfigDict, ValidationError

import jobs
from backbones.errors import near
from jobs.errors import SpecError

Json = Any
"""A value that JSON can hold."""


class Spec(BaseModel):
    """Base of every spec: frozen, complete, nothing unknown let in."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def canonical(self) -> str:
        """Return the canonical JSON: every value, sorted keys, no spaces."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    def digest(self) -> str:
        """Return a hash (16 hex digits) of the canonical JSON."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:16]

    def derive(self, **changes: object) -> Self:
        """Return a copy with some values changed, validated anew."""
        return type(self).model_validate({**self.model_dump(), **changes})


@dataclass(frozen=True)
class Resources:
    """What a run takes while it runs; never part of its spec.

    Attributes:
        workers: Processes that train together.
        cpus: Processor cores of each worker; also its torch threads.
        gpus: GPUs of each worker.
    """

    workers: int = 1
    cpus: float = 1.0
    gpus: float = 0.0


@dataclass(frozen=True)
class Result:
    """What a finished run leaves behind.

    Attributes:
        scores: Figures with their unit in the name: ``top1_pct``, ``loss``, ...
        facts: What decides with whom the figures may be compared (data-set fingerprint,
            resolution, precision, ...)
            and what is worth knowing (parameters, sample counts). Plain JSON values.
        rows: For kinds that measure many things at once (latency): one mapping each.
    """

    scores: Mapping[str, float]
    facts: Mapping[str, Json] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Json]] = ()


@dataclass(frozen=True)
class Parent:
    """A run that succeeded and that another one starts from.

    Attributes:
        kind: Its kind.
        backbone: Canonical text, empty for kinds without one.
        spec: As it was stored; `read_spec` makes it a spec again.
        facts: Of its result.
        folder: Its last checkpoint, verified, to be read only.
    """

    kind: str
    backbone: str
    spec: Mapping[str, Json]
    facts: Mapping[str, Json]
    folder: Path


class JobContext(Protocol):
    """What a run may ask of the world. Ray supplies one, the inline launcher one, tests another."""

    @property
    def workdir(self) -> Path:
        """A folder of this attempt (and rank) on this machine's disk; gone after the attempt."""

    @property
    def cache(self) -> Path:
        """A folder of this machine that outlives runs: embedded data, verdicts of data checks."""

    @property
    def rank(self) -> int:
        """Which of the workers this is, from 0."""

    @property
    def world_size(self) -> int:
        """How many workers there are; when above 1, `torch.distributed` is up already."""

    @property
    def device(self) -> str:
        """``cpu``, or the worker's GPU, such as ``cuda:0``."""

    @property
    def threads(self) -> int:
        """Torch threads that this worker may use."""

    def status(self, text: str) -> None:
        """Say in a few words what is going on outside of steps, e.g. ``checking 60,000 images``."""

    def report(
        self,
        *,
        step: int,
        total_steps: int,
        metrics: Mapping[str, float],
        epoch: int | None = None,
    ) -> None:
        """Tell how far the run is. Cheap, so it is called at every step.

        Values are thinned, batched and sent on from elsewhere.

        Args:
            step: Steps done, from 1; grows.
            total_steps: Steps of the whole run, so that progress and ETA follow.
            metrics: Series to their value now; names carry units (``train_loss``,
                ``val_top1_pct``, ``lr``).
            epoch: Epochs done, from 1, when the values belong to the end of an epoch (such points
                are never thinned away).
        """

    def save(self, *, step: int, write: Callable[[Path], None]) -> None:
        """Publish a checkpoint, whole or not at all: `write` fills an empty folder.

        All ranks call it; only rank 0's `write` is called.
        """

    def resume(self) -> Path | None:
        """Return the folder of the checkpoint to go on from, verified, or None at a fresh start."""

    def parent(self, run_id: int) -> Parent:
        """Return a run that this one starts from (see `JobKind.parents_of`); on any rank.

        Raises:
            SpecError: It did not succeed, or keeps no checkpoint.
        """

    def keep(self, path: Path, *, name: str) -> None:
        """Keep a file of the workdir as an artifact of the run under `name`. Rank 0 only."""

    def stop_requested(self) -> str | None:
        """Return why the run should save and stop (the same answer on every rank), or None."""


@dataclass(frozen=True)
class JobKind:
    """The light half of a kind.

    Attributes:
        spec: Model of its spec.
        summary: One line for listings.
        backbone_of: The backbone text of a spec, for listings and checks.
        resources: What a run of it takes when nobody says.
        precheck: Light checks of a spec at submission, without torch (folder missing, classes
            differ); raises JobError.
        exclusive: Whether it must have its device (or, without a GPU, its machine's cores) for
            itself.
        parents_of: The runs that a spec starts from; it waits until they have succeeded.
        parent_kinds: Of which kinds these may be; the first is the one that is made when a parent
            is submitted along and nobody says. A parent has the backbone of its child.
        with_parent: Fields of a spec, changed so that it starts from the run of a number; 0 stands
            for a run that is not submitted yet.
        benchmark_of: Fields of a `benchmark` of what a spec trains, but its backbone and classes;
            None: nothing is trained.
    """

    spec: type[Spec]
    summary: str
    backbone_of: Callable[[Any], str] | None = None
    resources: Resources = Resources()
    precheck: Callable[[Any], None] | None = None
    exclusive: bool = False
    parents_of: Callable[[Any], tuple[int, ...]] | None = None
    parent_kinds: tuple[str, ...] = ()
    with_parent: Callable[[Mapping[str, Any], int], Mapping[str, Any]] | None = None
    benchmark_of: Callable[[Any], Mapping[str, Json]] | None = None


@cache
def kinds() -> Mapping[str, JobKind]:
    """Return every kind by name: the folders of `jobs` that hold a `KIND`."""
    found: dict[str, JobKind] = {}
    for info in pkgutil.iter_modules(jobs.__path__):
        if info.ispkg and info.name not in {"data", "recipes", "studies"}:
            kind = getattr(importlib.import_module(f"jobs.{info.name}"), "KIND", None)
            if isinstance(kind, JobKind):
                found[info.name] = kind
    return found


def get(name: str) -> JobKind:
    """Return a kind.

    Raises:
        SpecError: There is none of that name.
    """
    if name not in kinds():
        raise SpecError(f"unknown kind of run {name!r}; {near(name, kinds())}")
    return kinds()[name]


def read_spec(kind: str, values: Mapping[str, object]) -> Spec:
    """Make and check the spec of a run.

    Args:
        kind: Name of the kind.
        values: Its fields, as typed by a user or as stored.

    Raises:
        SpecError: A field is missing, unknown or out of range; every such field is named.
    """
    model = get(kind).spec
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise SpecError(explain(error, model)) from error


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Turn a validation error into one line a fault, naming near fields for unknown ones."""
    lines = []
    for fault in error.errors(include_url=False):
        where = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            known = _fields_at(model, fault["loc"][:-1])
            hint = f"; {near(str(fault['loc'][-1]), known)}" if known else ""
            lines.append(f"{where}: no such field{hint}")
        elif fault["type"] == "missing":
            lines.append(f"{where}: missing{_about(model, fault['loc'])}")
        else:
            message = fault["msg"].removeprefix("Value error, ")
            whole = isinstance(fault["input"], Mapping)  # a rule over many fields names its own
            found = "" if whole else f" (found {fault['input']!r})"
            lines.append(f"{where or model.__name__}: {message}{found}")
    return "\n".join(lines)


def _about(model: type[BaseModel], path: Sequence[int | str]) -> str:
    """Return a missing field's own description, where it has one."""
    field = model.model_fields.get(str(path[0])) if len(path) == 1 else None
    return f" ({field.description})" if field and field.description else ""


def _fields_at(model: type[BaseModel], path: Sequence[int | str]) -> Sequence[str]:
    """Return the fields of the model that stands at a place inside another, none elsewhere."""
    for name in path:
        field = model.model_fields.get(str(name))
        inner = None if field is None else field.annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return ()
        model = inner
    return list(model.model_fields)


def load_run(kind: str) -> Callable[[Any, JobContext], Result]:
    """Return the heavy half of a kind: ``run`` of its ``run.py``. Imports torch."""
    run: Callable[[Any, JobContext], Result] = importlib.import_module(f"jobs.{kind}.run").run
    return run


def load_check(kind: str) -> Callable[[Any, JobContext], None] | None:
    """Return ``check`` of a kind's ``run.py``: a look at the input before a device is taken."""
    return getattr(importlib.import_module(f"jobs.{kind}.run"), "check", None)


def load_cost(kind: str) -> Callable[..., Mapping[str, Json]] | None:
    """Return ``cost_of(spec, *, classes)`` of a kind's ``run.py``: more than its backbone's."""
    return getattr(importlib.import_module(f"jobs.{kind}.run"), "cost_of", None)
