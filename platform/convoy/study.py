"""A study in the queue: from the rows of a published table to runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from convoy import repeatable, submission
from convoy.errors import SubmissionError
from convoy.leaderboard.publication import other_recipe
from convoy.records import NewRun
from jobs import recipes
from jobs.classify import ClassifySpec
from jobs.job import Spec, read_spec
from jobs.recipes import Recipe
from jobs.studies import Study

KIND = "classify"
MEASUREMENT = "benchmark"

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


def plan(study: Study, variant: Variant, *, wishes: submission.Wishes) -> list[NewRun]:
    """Make the runs of a study, each keyed by its spec.

    A run of an equal spec that another study has queued stands for this one's.

    Args:
        study: Whose rows.
        variant: How.
        wishes: Owner, resources, priority.

    Raises:
        SubmissionError: It is not said where the images are, or a row's own field is set.
        JobError: A field or the data are wrong.
        BackboneError: A row cannot be built.
    """
    wishes = replace(wishes, study=study.name)
    fields = _fields(study, variant.values)
    if not fields["data"]:
        raise SubmissionError(
            f"study {study.name} is about {study.dataset}; say where its images are: "
            "--set data=<folder with train/ and val/>"
        )
    trained: list[NewRun] = []
    for recipe, backbones in _by_recipe(study, variant).items():
        values = {**fields, "recipe": _changed(recipe, fields.get("recipe"))}
        trained += submission.prepare(
            KIND, values, wishes=wishes, backbones=backbones, seeds=variant.seeds
        )
    order = list(study.by_backbone)
    trained.sort(key=lambda run: order.index(run.backbone))
    measured = _measurements(trained, wishes=wishes) if variant.latency else []
    return repeatable.keyed([*trained, *measured], prefix=_PREFIX)


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
    given = {name: value for name, value in fields.items() if value != ""}
    backbone = study.rows[0].backbone
    return read_spec(KIND, {**given, "backbone": backbone, "recipe": recipe})


def with_changes(study: Study, values: Mapping[str, Any]) -> Study:
    """Return a study with the recipe that the user makes of its own.

    Raises:
        SpecError: A field is unknown or out of range.
    """
    spec = spec_of(study, values)
    recipe = spec.recipe if isinstance(spec, ClassifySpec) else study.recipe
    return study.model_copy(update={"recipe": recipe})


def _fields(study: Study, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with those of the recipe under `recipe`."""
    if wrong := sorted(_ROW_FIELDS & values.keys()):
        raise SubmissionError(
            f"{wrong[0]} is of a row, not of a study; "
            + ("give --seeds 0,1,2" if wrong[0] == "seed" else "submit that row by itself")
        )
    known = ClassifySpec.model_fields
    inner = {k: v for k, v in values.items() if k in Recipe.model_fields and k not in known}
    outer = {k: v for k, v in values.items() if k not in inner}
    given = outer.get("recipe")
    if inner:
        if given is not None and not isinstance(given, Mapping):
            given = {"base": given}
        outer["recipe"] = {**(given or {}), **inner}
    return {"data": study.data, **outer}


def _changed(recipe: Recipe, given: object) -> object:
    """Return the recipe of rows whose study has `recipe` and whose user gave `given`."""
    if given is None:
        return recipe.model_dump()
    if isinstance(given, Mapping) and "base" not in given:
        return recipes.changed(recipe, given)
    return given


def _by_recipe(study: Study, variant: Variant) -> dict[Recipe, list[str]]:
    found: dict[Recipe, list[str]] = defaultdict(list)
    for row in study.rows:
        other = other_recipe(study, row.backbone) if variant.as_published else ""
        found[recipes.get(other) if other else study.recipe].append(row.backbone)
    return found


def _measurements(trained: Sequence[NewRun], *, wishes: submission.Wishes) -> list[NewRun]:
    """Make a measurement of each backbone, at the size of its training."""
    spec = read_spec(KIND, trained[0].spec)
    return submission.prepare(
        MEASUREMENT,
        {
            "image_size": submission.image_size_of(spec),
            "classes": submission.classes_of(spec),
        },
        # in the line behind the training, since each takes the machine for itself
        wishes=replace(wishes, priority=wishes.priority - 1, workers=None, cpus=None),
        backbones=list(dict.fromkeys(run.backbone for run in trained)),
    )
