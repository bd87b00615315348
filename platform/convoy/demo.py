"""The demonstration: networks with several methods, trained and measured through the queue.

One network classifies digits, another is the backbone of a Mask R-CNN that finds them in scenes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from convoy import repeatable, submission
from convoy.records import Attempt, Filter, NewRun, Run
from convoy.repeatable import Part

if TYPE_CHECKING:
    from convoy.store import Store

STUDY = "demo"
NETWORK = "resnet20_cifar"

METHODS = ("kernel_warehouse", "conv", "se", "eca", "ghost")
"""The one that takes longest first, so that two cores are done at about the same time."""

DETECTING = ("resnet10t/eca", "resnet10t/conv")
"""Backbones of the detectors; each takes longer than any run that classifies."""

MEASURING_S = 6.0
"""Seconds of warm-up and timing for each backbone: short, and enough on a machine at rest."""

DATA = "digits"
RECIPE = "digits_quick"
CLASSES = 10

SCENES = "digit_scenes"
SCENES_RECIPE = "digit_scenes_quick"


@dataclass(frozen=True)
class Spans:
    """Where the time of a run went, in seconds; None for what did not happen.

    Attributes:
        queued: From submission to the claim of its last attempt.
        starting: From there until the attempt's process showed itself.
        preparing: From there to the first step: imports, data, network.
        working: From there to the end: steps, evaluation, checkpoints.
    """

    queued: float | None
    starting: float | None
    preparing: float | None
    working: float | None


def plan(*, owner: str, seed: int) -> list[NewRun]:
    """Make the runs of the demonstration: detectors; then each backbone trained and measured.

    Args:
        owner: Who submits.
        seed: Of the training runs.
    """
    backbones = [f"{NETWORK}/{method}" for method in METHODS]
    detected, trained = (
        submission.prepare(
            kind,
            {"data": data, "recipe": recipe},
            wishes=submission.Wishes(owner=owner, study=STUDY),
            backbones=chosen,
            seeds=[seed],
        )
        for kind, data, recipe, chosen in (
            ("detect", SCENES, SCENES_RECIPE, DETECTING),
            ("classify", DATA, RECIPE, backbones),
        )
    )
    # Last in line: they take the whole machine, so that what trains does not disturb them.
    measured = submission.prepare(
        "benchmark",
        {
            "image_size": trained[0].spec["recipe"]["image_size"],
            "classes": CLASSES,
            "budget_s": MEASURING_S,
        },
        wishes=submission.Wishes(owner=owner, study=STUDY, priority=-1),
        backbones=backbones,
    )
    return repeatable.keyed([*detected, *trained, *measured], prefix=STUDY)


def enqueue(store: Store, *, owner: str, again: bool) -> list[Part]:
    """Ask for the runs; those of an earlier call are found, those that failed taken up again.

    Args:
        store: Where they go.
        owner: Who submits.
        again: Train with a seed that no earlier call used.
    """
    seed = repeatable.unused_seed(store.every(Filter(study=STUDY))) if again else 0
    return repeatable.enqueue(store, plan(owner=owner, seed=seed))


def present(store: Store, parts: Sequence[Part]) -> list[Run]:
    """Return the runs as they are now."""
    ids = [part.run.id for part in parts]
    found = {run.id: run for run in store.runs(Filter(ids=ids), limit=len(ids))}
    return [found[run_id] for run_id in ids]


def are_over(runs: Sequence[Run]) -> bool:
    """Return whether all have ended."""
    return all(run.state.is_final for run in runs)


def spans(run: Run, attempts: Sequence[Attempt]) -> Spans:
    """Say where the time of a run went, by its last attempt."""
    if not attempts:
        return Spans(None, None, None, None)
    last = attempts[-1]
    marks = (run.created_at, last.created_at, last.began_at, last.first_step_at, last.ended_at)
    between = [
        (after - before).total_seconds() if before and after else None
        for before, after in pairwise(marks)
    ]
    return Spans(*between)
