"""What papers print for a backbone, beside what was measured here, with what is known to differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from backbones.errors import BackboneError
from backbones.method import Published, published
from backbones.text import parse
from convoy.leaderboard.intervals import Estimate
from convoy.records import Json
from jobs import recipes
from jobs.studies import Study

_BY_COUNTS: Mapping[tuple[Json, Json], str] = {(1000, 50_000): "imagenet1k"}
"""Classes and validation images of data sets that papers use."""
TRAINING_IMAGES = {"imagenet1k": 1_281_167}
"""Of those, how many images there are to train on."""


@dataclass(frozen=True)
class Beside:
    """A published row next to a measured one.

    Attributes:
        row: As the source prints it.
        comparable: Whether both are of the same data set; only then do the next two say something.
        top1_difference: Measured minus published top-1, percentage points; None when one is
            missing.
        within_noise: Whether the published value lies in the measured interval; None when that is
            not known.
        differences: What is known to differ.
    """

    row: Published
    comparable: bool
    top1_difference: float | None
    within_noise: bool | None
    differences: tuple[str, ...]


def beside(backbone: str, *, facts: Mapping[str, Json], top1: Estimate) -> tuple[Beside, ...]:
    """Return the published rows of a backbone.

    Args:
        backbone: Canonical text.
        facts: Facts of the measured result.
        top1: The measured top-1, percent.
    """
    return tuple(compare(row, facts=facts, top1=top1) for row in rows_of(backbone))


def rows_of(backbone: str) -> tuple[Published, ...]:
    """Return what a backbone's methods keep on it; empty when one is not installed any more."""
    try:
        names = [method.name for method in parse(backbone).methods]
        rows = [row for name in names for row in published(name)]
    except BackboneError:
        return ()
    return tuple(row for row in rows if row.backbone == backbone)


def published_in(study: Study, backbone: str) -> Published | None:
    """Return what the source of a study prints for one of its rows, if that is known."""
    source = study.by_backbone[backbone].source or study.source
    for row in rows_of(backbone) if source else ():
        if row.dataset == study.dataset and row.source.startswith(source):
            return row
    return None


def other_recipe(study: Study, backbone: str) -> str:
    """Return the recipe under which a study's source trained one of its rows, if it is another.

    Only recipes that are known here by name are told; two of the same values are one.
    """
    row = published_in(study, backbone)
    if row is None or row.recipe not in recipes.names():
        return ""
    return "" if recipes.get(row.recipe).digest() == study.recipe.digest() else row.recipe


def dataset_of(facts: Mapping[str, Json]) -> str:
    """Return the data set of a result: one that is known by its counts, else as it is called here.

    A folder may be called anything, and ImageNet's validation images are known by their number.
    """
    counts = (facts.get("classes"), facts.get("val_images"))
    return _BY_COUNTS.get(counts) or str(facts.get("dataset") or "")


def compare(row: Published, *, facts: Mapping[str, Json], top1: Estimate) -> Beside:
    """Put a published row beside a measured one.

    Args:
        row: As the source prints it.
        facts: Facts of the measured result.
        top1: The measured top-1, percent.
    """
    comparable = row.dataset == dataset_of(facts)
    difference = top1.mean - row.top1_pct if comparable and row.top1_pct is not None else None
    within = None
    if difference is not None and row.top1_pct is not None and top1.low is not None:
        within = top1.low <= row.top1_pct <= (top1.high or top1.mean)
    return Beside(row, comparable, difference, within, tuple(_differences(row, facts)))


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
