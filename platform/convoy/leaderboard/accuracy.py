"""The scores of the runs behind one row: an estimate of each measure of their task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from convoy.leaderboard.intervals import Estimate, estimate
from convoy.leaderboard.measures import measures_of
from convoy.records import Json, Run


@dataclass(frozen=True)
class Accuracy:
    """Scores of one backbone under one key.

    Attributes:
        estimates: Estimate of each measure that the runs have, by name: ``top1``, ``top5``.
        runs: Run of each seed, by seed; of two runs of one seed the later counts.
        best_pct: Mean over seeds of the best epoch's score in the measure that ranks, shown apart
            and never ranked; percent.
    """

    estimates: Mapping[str, Estimate]
    runs: Mapping[int, int]
    best_pct: float | None = None


def facts_of(run: Run) -> Mapping[str, Json]:
    """Return the facts of a result; none before there is one."""
    return (run.result or {}).get("facts") or {}


def scores_of(run: Run) -> Mapping[str, float]:
    """Return the scores of a result; none before there is one."""
    return (run.result or {}).get("scores") or {}


def is_scored(run: Run) -> bool:
    """Return whether a run has a score that its task knows."""
    return any(one.score in scores_of(run) for one in measures_of(facts_of(run)))


def accuracy_of(by_seed: Mapping[int, Run]) -> Accuracy:
    """Summarise the scores of runs that differ in their seed.

    Args:
        by_seed: At least one run, by seed.
    """
    runs = [by_seed[seed] for seed in sorted(by_seed)]
    facts = facts_of(runs[-1])
    measures = measures_of(facts)
    estimates = {
        measure.name: estimate(
            [scores_of(run)[measure.score] for run in runs],
            samples=facts.get("val_images") if measure.is_share else None,
            band=measure.band,
        )
        for measure in measures
        if all(measure.score in scores_of(run) for run in runs)
    }
    best = [scores_of(run).get(f"best_{measures[0].score}") for run in runs]
    known = [value for value in best if value is not None]
    return Accuracy(
        estimates,
        {seed: by_seed[seed].id for seed in sorted(by_seed)},
        best_pct=sum(known) / len(known) if known else None,
    )
