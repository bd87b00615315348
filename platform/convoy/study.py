"""A study in the queue: from the rows of a published table to runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from backbones.resolve import resolve
from convoy import lineage, repeatable, submission
from convoy.errors import SubmissionError
from convoy.leaderboard.publication import other_recipe
from convoy.records import Following, NewRun
from jobs import job, recipes
from jobs.detect import DetectSpec
from jobs.initial import FIELD as INITIAL
from jobs.job import Spec, read_spec
from jobs.recipes import TrainingRecipe
from jobs.studies import Study, StudyRow

MEASUREMENT = "benchmark"
COUNTS = ("params", "madds", "madds_assembly")
IMAGENET_CLASSES, COCO_CLASSES = 1000, 80

_PREFIX = "study"
_ROW_FIELDS = {"backbone", "seed"}


@dataclass(frozen=True)
class Variant:
    """How the rows of a study are run.

    Attributes:
        values: Fields of the training spec that the user sets; fields of the recipe may stand
            among them.
        seeds: A run of each row for each; empty: one of the spec's default.
        as_published: Each row under the recipe of its source instead of the study's.
        latency: Measure the latency of each row, too.
    """

    values: Mapping[str, Any]
    seeds: Sequence[int] = ()
    as_published: bool = False
    latency: bool = False


def plan(study: Study, variant: Variant, *, wishes: submission.Wishes) -> list[NewRun | Following]:
    """Make the runs of a study, each keyed by its spec, and those that they start from.

    A run of an equal spec that another study has queued stands for this one's.

    Args:
        study: Whose rows.
        variant: How.
        wishes: Owner, resources, priority.

    Raises:
        SubmissionError: It is not said where the images are or what the rows start from, or a
            field that is not the user's is set.
        JobError: A field or the data are wrong.
        BackboneError: A row cannot be built.
    """
    wishes = replace(wishes, study=study.name)
    fields = _fields(study, variant.values)
    if not fields["data"]:
        raise SubmissionError(
            f"study {study.name} is about {study.dataset}; say where its images are: "
            f"--set data=<{study.layout}>"
        )
    starts = _starts(study, fields)
    if lineage.PARENT not in fields:
        fields.pop(INITIAL, None)
    made: list[NewRun | Following] = []
    for row in study.rows:
        values = {**fields, **starts[row.backbone], "recipe": _recipe_of(row, study, variant)}
        row_runs = lineage.prepare(
            study.kind, values, wishes=wishes, backbones=[row.backbone], seeds=variant.seeds
        )
        made += lineage.shifted(row_runs, by=len(made))
    measured = _measurements(study, variant, wishes=wishes) if variant.latency else []
    return [_keyed(run) for run in [*made, *measured]]


def counter(spec: Spec, *, classes: int | None) -> Callable[[str], Mapping[str, Any]]:
    """Return what counts parameters and multiply-adds of a backbone as a row of a study.

    Args:
        spec: Of any row.
        classes: What the data hold; None: as many as the data set of the published figures.
    """
    if isinstance(spec, DetectSpec):
        from jobs.detect.network import cost_of  # loads torch and mmdetection

        return lambda text: cost_of(spec.derive(backbone=text), classes=classes or COCO_CLASSES)

    from backbones.cost import cost  # loads torch

    def alone(backbone: str) -> Mapping[str, Any]:
        image_size = submission.image_size_of(spec)
        counted = cost(backbone, classes=classes or IMAGENET_CLASSES, image_size=image_size)
        return {name: getattr(counted, name) for name in COUNTS}

    return alone


def spec_of(study: Study, values: Mapping[str, Any]) -> Spec:
    """Return the training spec of a study's first row.

    Args:
        study: Which.
        values: What the user sets; ``data`` may be missing.

    Raises:
        SpecError: A field is unknown or out of range.
    """
    fields = _fields(study, values)
    recipe = _changed(study.recipe, fields.pop("recipe", None))
    idle = {lineage.PARENT, INITIAL}  # each row has its own
    given = {name: value for name, value in fields.items() if value != "" and name not in idle}
    backbone = study.rows[0].backbone
    return read_spec(study.kind, {**given, "backbone": backbone, "recipe": recipe})


def with_changes(study: Study, values: Mapping[str, Any]) -> Study:
    """Return a study with the recipe that the user makes of its own.

    Raises:
        SpecError: A field is unknown or out of range.
    """
    recipe = getattr(spec_of(study, values), "recipe", study.recipe)
    return study.model_copy(update={"recipe": recipe})


def _fields(study: Study, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with those of the recipe under `recipe`."""
    if wrong := sorted(_ROW_FIELDS & values.keys()):
        raise SubmissionError(
            f"{wrong[0]} is of a row, not of a study; "
            + ("give --seeds 0,1,2" if wrong[0] == "seed" else "submit that row by itself")
        )
    if wrong := sorted(study.decided.keys() & values.keys()):
        raise SubmissionError(
            f"study {study.name} is about {wrong[0]} {study.decided[wrong[0]]}; leave it away"
        )
    known = job.get(study.kind).spec.model_fields
    of_recipes = type(study.recipe).model_fields
    inner = {k: v for k, v in values.items() if k in of_recipes and k not in known}
    outer = {k: v for k, v in values.items() if k not in inner}
    given = outer.get("recipe")
    if inner:
        if given is not None and not isinstance(given, Mapping):
            given = {"base": given}
        outer["recipe"] = {**(given or {}), **inner}
    return {"data": study.data, **study.decided, **outer}


def _starts(study: Study, fields: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return for each backbone the field that says what it starts from, if it is said at all.

    What the user says goes before what a row says, and that before what the study says.
    """
    if lineage.PARENT in fields:
        return {row.backbone: {} for row in study.rows}
    said = fields.get(INITIAL)
    by_row = _by_backbone(study, said) if isinstance(said, Mapping) else {}
    everywhere = "" if isinstance(said, Mapping) else str(said or "")
    found = {
        row.backbone: by_row.get(row.backbone) or everywhere or row.initial or study.initial
        for row in study.rows
    }
    lacking = [backbone for backbone, initial in found.items() if not initial]
    if lacking and study.detector:
        more = f" and {len(lacking) - 1} more rows" if len(lacking) > 1 else ""
        raise SubmissionError(
            f"{lacking[0]}{more} of study {study.name} start from ImageNet weights that no library "
            "has; train them first, each for its row (--set parent.recipe=NAME --set "
            f"parent.data=<ImageNet>), or name them (--set '{INITIAL}={{{lacking[0]}: run:ID, "
            f"...}}'; a value for all rows is --set {INITIAL}=...)"
        )
    return {text: {INITIAL: initial} if initial else {} for text, initial in found.items()}


def _by_backbone(study: Study, said: Mapping[str, Any]) -> dict[str, str]:
    """Return initial weights by canonical backbone.

    Raises:
        SubmissionError: A backbone is no row of the study.
        BackboneError: One cannot be read.
    """
    found = {str(resolve(text)): str(initial) for text, initial in said.items()}
    if wrong := sorted(found.keys() - study.by_backbone.keys()):
        raise SubmissionError(
            f"{INITIAL} names {wrong[0]}, which is no row of study {study.name}; "
            f"its rows: {', '.join(study.by_backbone)}"
        )
    return found


def _recipe_of(row: StudyRow, study: Study, variant: Variant) -> object:
    """Return the recipe of a row as the user wants it."""
    other = other_recipe(study, row.backbone) if variant.as_published else ""
    recipe = recipes.get(other, type(study.recipe)) if other else study.recipe
    return _changed(recipe, _fields(study, variant.values).get("recipe"))


def _changed(recipe: TrainingRecipe, given: object) -> object:
    """Return the recipe of rows whose study has `recipe` and whose user gave `given`."""
    if given is None:
        return recipe.model_dump()
    if isinstance(given, Mapping) and "base" not in given:
        return recipes.changed(recipe, given)
    return given


def _keyed(run: NewRun | Following) -> NewRun | Following:
    if isinstance(run, NewRun):
        return repeatable.with_key(run, prefix=_PREFIX)
    return replace(run, make=partial(_keyed_child, run))


def _keyed_child(run: Following, parent_id: int) -> NewRun:
    return repeatable.with_key(run.make(parent_id), prefix=_PREFIX)


def _measurements(study: Study, variant: Variant, *, wishes: submission.Wishes) -> list[NewRun]:
    """Make a measurement of what each row trains, at the size of its training."""
    spec = spec_of(study, variant.values)
    benchmark_of = job.get(study.kind).benchmark_of
    if benchmark_of is None:
        raise SubmissionError(f"rows of study {study.name} train nothing; leave --latency away")
    return submission.prepare(
        MEASUREMENT,
        {**benchmark_of(spec), "classes": submission.classes_of(spec)},
        # in the line behind the training, since each takes the machine for itself
        wishes=replace(wishes, priority=wishes.priority - 1, workers=None, cpus=None),
        backbones=list(study.by_backbone),
    )
