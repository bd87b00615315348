"""What papers print for a backbone, beside what was measured here, with what is known to differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from backbones.errors import BackboneError
from backbones.method import Published, published
from backbones.text import parse
from convoy.leaderboard.intervals import Estimate
from convoy.leaderboard.measures import measures_of
from convoy.records import Json
from jobs import recipes
from jobs.studies import Study

_BY_COUNTS: Mapping[tuple[Json, Json], str] = {
    (1000, 50_000): "imagenet1k",
    (80, 5_000): "coco2017",
}
"""Classes and validation images of data sets that papers use."""
TRAINING_IMAGES = {"imagenet1k": 1_281_167, "coco2017": 117_266}
"""Of those, how many images there are to train on; of COCO the ones that hold an object."""

CLASSIFY = "classify"


@dataclass(frozen=True)
class Compared:
    """A measured score less a published one.

    Attributes:
        difference: Percentage points.
        within_noise: Whether they agree as far as the measured one is sure; None when that is not
            known.
    """

    difference: float
    within_noise: bool | None


@dataclass(frozen=True)
class Beside:
    """A published row next to a measured one.

    Attributes:
        row: As the source prints it.
        comparable: Whether both are of the same data set; only then is anything compared.
        compared: Name of each measure that both have to how they differ.
        differences: What is known to differ.
    """

    row: Published
    comparable: bool
    compared: Mapping[str, Compared]
    differences: tuple[str, ...]


def beside(
    backbone: str, *, facts: Mapping[str, Json], estimates: Mapping[str, Estimate]
) -> tuple[Beside, ...]:
    """Return the published rows of a backbone that are of the measured task, nearest first.

    Args:
        backbone: Canonical text.
        facts: Facts of the measured result.
        estimates: What was measured, by the name of the measure.
    """
    task = facts.get("detector") or facts.get("task")
    rows = rows_of(backbone, task=str(task or CLASSIFY))
    found = [compare(row, facts=facts, estimates=estimates) for row in rows]
    found.sort(key=lambda one: (not one.comparable, one.row.recipe != facts.get("recipe")))
    return tuple(found)


def rows_of(backbone: str, *, task: str = CLASSIFY) -> tuple[Published, ...]:
    """Return what a backbone's methods keep on it; empty when one is not installed any more.

    Args:
        backbone: Canonical text.
        task: Of the rows: ``classify``, or a detector.
    """
    try:
        names = [method.name for method in parse(backbone).methods]
        rows = [row for name in names for row in published(name)]
    except BackboneError:
        return ()
    return tuple(row for row in rows if row.backbone == backbone and row.task == task)


def published_in(study: Study, backbone: str) -> Published | None:
    """Return what the source of a study prints for one of its rows, if that is known."""
    source = study.by_backbone[backbone].source or study.source
    for row in rows_of(backbone, task=study.task) if source else ():
        if row.dataset == study.dataset and row.source.startswith(source):
            return row
    return None


def other_recipe(study: Study, backbone: str) -> str:
    """Return the recipe under which a study's source trained one of its rows, if it is another.

    Only recipes that are known here by name are told; two of the same values are one.
    """
    row = published_in(study, backbone)
    model = type(study.recipe)
    if row is None or row.recipe not in recipes.names(model):
        return ""
    return "" if recipes.get(row.recipe, model).digest() == study.recipe.digest() else row.recipe


def dataset_of(facts: Mapping[str, Json]) -> str:
    """Return the data set of a result: one that is known by its counts, else as it is called here.

    A folder may be called anything, and ImageNet's validation images are known by their number.
    """
    counts = (facts.get("classes"), facts.get("val_images"))
    return _BY_COUNTS.get(counts) or str(facts.get("dataset") or "")


def compare(
    row: Published, *, facts: Mapping[str, Json], estimates: Mapping[str, Estimate]
) -> Beside:
    """Put a published row beside a measured one.

    Args:
        row: As the source prints it.
        facts: Facts of the measured result.
        estimates: What was measured, by the name of the measure.
    """
    comparable = row.dataset == dataset_of(facts)
    compared = {
        measure.name: Compared(ours.mean - theirs, ours.agrees_with(theirs))
        for measure in measures_of(facts)
        if comparable
        and (ours := estimates.get(measure.name))
        and (theirs := measure.printed(row)) is not None
    }
    return Beside(row, comparable, compared, tuple(_differences(row, facts)))


def _differences(row: Published, facts: Mapping[str, Json]) -> list[str]:
    pairs = (
        ("data set", row.dataset, dataset_of(facts)),
        ("recipe", row.recipe, facts.get("recipe")),
    )
    known = [
        f"{name}: theirs {theirs}, ours {ours}"
        for name, theirs, ours in pairs
        if theirs and theirs != ours
    ]
    if row.epochs:
        known.append(f"theirs trained {row.epochs} epochs")
    if row.convention:
        known.append(f"theirs counted: {row.convention}")
    return known + ([row.note] if row.note else [])
