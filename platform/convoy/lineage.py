"""Runs that start from others: submitted along with them, checked against them, retried after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from convoy import submission
from convoy.errors import SubmissionError
from convoy.records import Filter, Following, NewRun, Run
from convoy.states import RunState
from convoy.submission import Wishes
from jobs import job
from jobs.errors import SpecError
from jobs.job import JobKind

PARENT = "parent"
"""Among the values of a spec: those of the run that is to be submitted along and started from."""
KIND = "kind"
RESOURCES = ("workers", "cpus", "gpus")


class RunSource(Protocol):
    """What is asked of the store before a submission."""

    def run(self, run_id: int) -> Run:
        """Return a run; RunNotFoundError when there is none."""

    def runs(self, which: Filter, *, limit: int) -> Sequence[Run]:
        """Return runs, newest first."""


def prepare(
    kind: str,
    values: Mapping[str, Any],
    *,
    wishes: Wishes,
    backbones: Sequence[str] = (),
    seeds: Sequence[int] = (),
) -> list[NewRun | Following]:
    """Check a submission and make its runs, and those that they start from.

    Args:
        kind: Kind of run.
        values: Fields of its spec. Under `parent` may stand those of a run to start from: its
            ``kind`` (when it is not the usual one), ``workers``, ``cpus``, ``gpus`` (else as in
            `wishes`), the fields of its spec, and a `parent` of its own.
        wishes: What stands beside the spec.
        backbones: As in `submission.prepare`; each has a parent of its own, with that backbone.
        seeds: As there; they share the parent.

    Returns:
        Each parent before its children.

    Raises:
        JobError, BackboneError, SubmissionError: As `submission.prepare`, for parents, too.
    """
    own = {name: value for name, value in values.items() if name != PARENT}
    said: dict[str, Any] = {"wishes": wishes, "backbones": backbones, "seeds": seeds}
    if PARENT not in values:
        return list(submission.prepare(kind, own, **said))
    asked = _asked(kind, values[PARENT])
    children = submission.prepare(kind, _from_nobody_yet(kind, own), **said)
    made: list[NewRun | Following] = []
    for backbone in dict.fromkeys(child.backbone for child in children):
        its = [child for child in children if child.backbone == backbone]
        made += shifted(_parents(asked, its[0], wishes=wishes), by=len(made))
        parent = len(made) - 1
        made += [Following(parent, partial(_born, child, wishes)) for child in its]
    return made


def check(store: RunSource, new: Sequence[NewRun | Following]) -> None:
    """Refuse to wait for what will never succeed, or to start from what cannot serve.

    Raises:
        RunNotFoundError: There is no such run.
        SubmissionError: The run has failed or was cancelled, or a parent is of another kind or
            backbone than its child needs.
    """
    fixed = [run for run in new if isinstance(run, NewRun)]  # others follow one of these
    known = {
        run_id: store.run(run_id)
        for run_id in dict.fromkeys(other for run in fixed for other in run.depends_on)
    }
    for found in known.values():
        if found.state.is_final and found.state is not RunState.SUCCEEDED:
            raise SubmissionError(
                f"run {found.id} is {found.state}, so nothing can wait for it; "
                f"platform retry {found.id} takes it up again"
            )
    for run in fixed:
        for run_id in submission.parents_of(run.kind, run.spec):
            _check_parent(known[run_id], run)


def with_successors(store: RunSource, ended: Run) -> Run:
    """Return an ended run as it would be submitted now: after the runs that took up those it needs.

    Args:
        store: Where they are.
        ended: Depends, perhaps, on runs that failed or were cancelled.
    """
    successors = {needed: _successor(store, needed) for needed in ended.depends_on}
    if all(needed == successor for needed, successor in successors.items()):
        return ended
    spec: Mapping[str, Any] = ended.spec
    with_parent = job.get(ended.kind).with_parent
    for parent in submission.parents_of(ended.kind, ended.spec):
        if with_parent is not None and successors.get(parent, parent) != parent:
            spec = with_parent(spec, successors[parent])
    return replace(ended, spec=spec, depends_on=tuple(successors.values()))


def _asked(kind: str, given: object) -> dict[str, Any]:
    """Return what is said of the parent, its kind included.

    Raises:
        SubmissionError: It is no mapping, of a kind that cannot serve, or names a backbone.
    """
    kinds = job.get(kind).parent_kinds
    if not kinds:
        raise SubmissionError(f"{kind} runs start from no other run; leave {PARENT} away")
    if not isinstance(given, Mapping):
        raise SubmissionError(
            f"{PARENT} is {given!r}; expected fields of the spec of a {kinds[0]} run, such as "
            f"--set {PARENT}.recipe=NAME"
        )
    asked = {KIND: kinds[0], **given}
    if asked[KIND] not in kinds:
        raise SubmissionError(_wrong_kind(f"{PARENT}.{KIND} is {asked[KIND]}", kind))
    if "backbone" in asked:
        raise SubmissionError(
            f"a parent has the backbone of its child; leave {PARENT}.backbone away"
        )
    return asked


def _from_nobody_yet(kind: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values of a child whose parent has no number yet.

    Raises:
        SubmissionError: They say themselves what the child starts from.
    """
    with_parent = job.get(kind).with_parent
    changed = values if with_parent is None else with_parent(values, 0)
    for name, value in values.items():
        if changed[name] != value:
            raise SubmissionError(
                f"{name} is {value!r}, and {PARENT} says what to start from, too; "
                "say it in one place"
            )
    return changed


def _parents(
    asked: Mapping[str, Any], child: NewRun, *, wishes: Wishes
) -> list[NewRun | Following]:
    """Return the parent of a child, last, after its own ancestors."""
    given: dict[str, Any] = {
        name: _amount(name, asked[name]) for name in RESOURCES if name in asked
    }
    key = None if child.key is None else f"{child.key}:{PARENT}"
    try:
        return prepare(
            asked[KIND],
            {name: value for name, value in asked.items() if name not in {KIND, *RESOURCES}},
            wishes=replace(wishes, key=key, **given),
            backbones=[child.backbone],
        )
    except SpecError as error:
        raise SpecError(f"{PARENT} ({asked[KIND]}): {error}") from error


def _amount(name: str, value: object) -> float:
    wanted = int if name == "workers" else int | float
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise SubmissionError(f"{PARENT}.{name} is {value!r}; expected a number")
    return value


def shifted(runs: Sequence[NewRun | Following], *, by: int) -> list[NewRun | Following]:
    """Return runs of a submission as they stand behind `by` others."""
    return [
        replace(run, parent=run.parent + by) if isinstance(run, Following) else run for run in runs
    ]


def _born(draft: NewRun, wishes: Wishes, run_id: int) -> NewRun:
    """Return a child as it is when its parent has a number."""
    with_parent = job.get(draft.kind).with_parent
    values = draft.spec if with_parent is None else with_parent(draft.spec, run_id)
    return submission.new_run(
        draft.kind,
        job.read_spec(draft.kind, values),
        wishes=wishes,
        resources=draft.resources,
        key=draft.key,
    )


def _check_parent(parent: Run, child: NewRun) -> None:
    kind: JobKind = job.get(child.kind)
    if parent.kind not in kind.parent_kinds:
        raise SubmissionError(_wrong_kind(f"run {parent.id} is a {parent.kind} run", child.kind))
    if parent.backbone != child.backbone:
        raise SubmissionError(
            f"run {parent.id} is about {parent.backbone}, whose weights do not fit "
            f"{child.backbone}; start from a run of the same backbone"
        )


def _wrong_kind(what: str, kind: str) -> str:
    return f"{what}; a {kind} run starts from a {' or '.join(job.get(kind).parent_kinds)} run"


def _successor(store: RunSource, run_id: int) -> int:
    """Return the run that stands for another one now: itself, unless that was taken up."""
    run = store.run(run_id)
    while run.state.is_final and run.state is not RunState.SUCCEEDED:
        taken = store.runs(Filter(retry_of=run.id), limit=1)
        if not taken:
            break
        run = taken[0]
    return run.id
