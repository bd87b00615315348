"""Rows of the leaderboard as plain JSON values, for other programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from convoy.leaderboard.accuracy import Accuracy
from convoy.leaderboard.intervals import Estimate
from convoy.leaderboard.measures import Measure, Task
from convoy.leaderboard.publication import Beside
from convoy.leaderboard.rows import Group, Row
from convoy.records import Json

_SPREAD = ("n", "std", "interval", "ci95_low_pct", "ci95_high_pct")


def object_of(row: Row, group: Group) -> dict[str, Json]:
    """Return a row as plain JSON values.

    Args:
        row: Of the group.
        group: Says which measure ranks.
    """
    text = row.text
    methods = {call.name: dict(call.settings) for call in text.methods}
    return {
        "backbone": row.backbone,
        "network": text.network.name,
        "network_options": dict(text.network.settings),
        "method": "+".join(methods),
        "settings": methods if len(methods) > 1 else next(iter(methods.values())),
        "task": row.key["task"],
        **({"detector": row.key["detector"]} if row.key["detector"] else {}),
        "dataset": row.key["dataset"],
        "recipe": row.key["recipe"],
        "rank": row.rank,
        "params": row.params,
        "madds": row.madds,
        "madds_assembly": row.madds_assembly,
        "accuracy": accuracy_object(row.accuracy, measures=group.measures, by=group.measure),
        "latency": [dataclasses.asdict(latency) for latency in row.latency],
        "published": [published_object(beside, by=group.measure) for beside in row.published],
        "key": row.key.facts(),
    }


def published_object(beside: Beside, *, by: Measure | None) -> dict[str, Json]:
    """Return a published row with what was found beside it as plain JSON values.

    Args:
        beside: Both.
        by: The measure that ranks, whose noise counts.
    """
    main = beside.compared.get(by.name) if by else None
    names = [by.name] if by else []
    return {
        **beside.row.model_dump(mode="json"),
        "comparable": beside.comparable,
        **{f"{name}_difference": None for name in names},
        **{f"{name}_difference": one.difference for name, one in beside.compared.items()},
        "within_noise": main.within_noise if main else None,
        "differences": list(beside.differences),
    }


def accuracy_object(
    accuracy: Accuracy | None, *, measures: Sequence[Measure], by: Measure | None
) -> dict[str, Json]:
    """Return scores as plain JSON values.

    Args:
        accuracy: None: nothing was scored.
        measures: In which it could be.
        by: The one that ranks; ``n``, ``std`` and ``ci95_pct`` are of it.
    """
    estimates = accuracy.estimates if accuracy else {}
    scores = {name: _estimate_object(one) for name, one in estimates.items()}
    main = scores.get(by.name if by else "") or {"n": 0, "std": None, "ci95_pct": None}
    best = {f"best_{measures[0].score}": accuracy.best_pct} if accuracy and measures else {}
    return {
        **{
            one.score: scores[one.name]["mean_pct"] if one.name in scores else None
            for one in measures
        },
        "measure": by.name if by else None,
        **{name: main.get(name) for name in ("n", "std", "ci95_pct", "interval")},
        "runs": list(accuracy.runs.values()) if accuracy else [],
        "seeds": list(accuracy.runs) if accuracy else [],
        **best,
        "estimates": scores,
    }


def score_columns(task: Task) -> tuple[str, ...]:
    """Return the columns of scores in CSV.

    Returns:
        Every measure; ``measure`` says which of them ranks, and the bare ``n``, ``std``, ... are of
        that one. Spreads of the others bear their names.
    """
    return (
        *(one.score for one in task.measures),
        *("measure", *_SPREAD),
        *(name for one in task.measures[1:] for name in _spread_of_another(one, {})),
    )


def score_cells(accuracy: Mapping[str, Json], task: Task) -> dict[str, Json]:
    """Return what stands in `score_columns`.

    Args:
        accuracy: As `accuracy_object` gives it.
        task: Whose columns.
    """
    low, high = accuracy["ci95_pct"] or (None, None)
    cells = {**accuracy, "ci95_low_pct": low, "ci95_high_pct": high}
    for one in task.measures[1:]:
        cells |= _spread_of_another(one, accuracy["estimates"].get(one.name) or {})
    return {name: cells.get(name) for name in score_columns(task)}


def _spread_of_another(measure: Measure, found: Mapping[str, Json]) -> dict[str, Json]:
    low, high = found.get("ci95_pct") or (None, None)
    name = measure.name
    return {
        f"{name}_std": found.get("std"),
        f"{name}_ci95_low_pct": low,
        f"{name}_ci95_high_pct": high,
    }


def _estimate_object(estimate: Estimate) -> dict[str, Json]:
    return {
        "mean_pct": estimate.mean,
        "n": estimate.n,
        "std": estimate.std,
        "ci95_pct": None if estimate.low is None else [estimate.low, estimate.high],
        "interval": estimate.method,
    }
