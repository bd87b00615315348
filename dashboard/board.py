"""The leaderboard as the page shows it: filters, tables, and what differs between two of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from convoy.leaderboard.comparison import difference
from convoy.leaderboard.exports import (
    headline,
    latency_of,
    ratio_text,
    score_text,
    scores_shown,
)
from convoy.leaderboard.intervals import Estimate
from convoy.leaderboard.latency import Latency, shared_protocols
from convoy.leaderboard.measures import Measure
from convoy.leaderboard.rows import Group, Row
from convoy.records import Json
from dashboard import formats
from dashboard.rows import Columns
from dashboard.tradeoff import Spot

Protocol = tuple[str, str]
"""Device and protocol: latencies of different pairs never share a column or an axis."""

COSTS: Mapping[str, str] = {
    "Parameters": "Parameters (M)",
    "Multiply-adds": "Multiply-adds (M)",
    "Latency": "Latency p50 (ms)",
}
"""What a score may be drawn against, with the title of the axis."""

_MILLION = 1e6
_NAMES = {
    "dataset_fingerprint": "data set",
    "recipe_hash": "recipe",
    "train_samples_seen": "training samples seen",
    "image_size": "image size",
    "crop_pct": "crop",
    "initial": "initial weights",
    "ema": "EMA weights",
}


@dataclass(frozen=True)
class Choice:
    """What the filters of the page say; empty fields do not narrow.

    Attributes:
        dataset: Name of the data set.
        recipe: Name of the recipe.
        network: Name of the network.
        method: Name of a method; rows that compose it with others count.
        key: Headline of one comparison key.
    """

    dataset: str = ""
    recipe: str = ""
    network: str = ""
    method: str = ""
    key: str = ""


def narrowed(groups: Sequence[Group], choice: Choice) -> list[Group]:
    """Return the groups and rows that a choice leaves; ranks stay those of the whole group."""
    kept = []
    for group in groups:
        if _has(group, choice):
            rows = tuple(row for row in group.rows if _fits(row, choice))
            kept += [replace(group, rows=rows)] if rows else []
    return [replace(group, differs=difference(group.key, kept[0].key)) for group in kept]


def _has(group: Group, choice: Choice) -> bool:
    wanted = ((choice.dataset, group.key["dataset"]), (choice.recipe, group.key["recipe"]))
    return all(not want or want == found for want, found in wanted) and (
        not choice.key or choice.key == headline(group)
    )


def _fits(row: Row, choice: Choice) -> bool:
    text = row.text
    methods = {call.name for call in text.methods}
    return (not choice.network or choice.network == text.network.name) and (
        not choice.method or choice.method in methods
    )


def options(groups: Sequence[Group], name: str) -> list[str]:
    """Return what a filter offers: the values of one field of `Choice` that occur."""
    texts = [row.text for group in groups for row in group.rows]
    found: Mapping[str, Callable[[], Iterable[Json]]] = {
        "network": lambda: (text.network.name for text in texts),
        "method": lambda: chain.from_iterable(
            (call.name for call in text.methods) for text in texts
        ),
        "key": lambda: map(headline, groups),
    }
    values = found.get(name, lambda: (group.key[name] for group in groups))()
    return sorted({str(value) for value in values if value})


def protocols(groups: Sequence[Group]) -> list[Protocol]:
    """Return the (device, protocol) pairs of all rows, the most frequent first."""
    return shared_protocols([row for group in groups for row in group.rows])


def method_name(row: Row) -> str:
    """Return the methods of a row without settings: what its colour goes by."""
    return "+".join(call.name for call in row.text.methods)


def short_title(group: Group) -> str:
    """Return what a table is called: detector, data set, recipe; or the device for latency."""
    if group.key["device"]:
        return f"Latency on {group.key['device']}"
    names = ("detector", "dataset", "recipe")
    return " · ".join(str(group.key[name]) for name in names if group.key[name])


def differences(group: Group) -> str:
    """Say in what a group is not the first one, in a sentence; empty for the first."""
    parts = []
    for name, (here, there) in group.differs.items():
        both = "" if name.endswith(("_hash", "_fingerprint")) else f" ({here}, not {there})"
        parts.append(f"{_NAMES.get(name, name.replace('_', ' '))}{both}")
    return f"Not comparable with the first table; differs in {', '.join(parts)}." if parts else ""


def table(group: Group, protocol: Protocol | None) -> Columns:
    """Return the rows of a group as a table, without columns that nothing is known for.

    Args:
        group: Its rows, in order.
        protocol: Whose latencies stand in it.
    """
    latencies = [latency_of(row, protocol) for row in group.rows]
    main = [row.estimate(group.measure) for row in group.rows]
    others = [one for one in scores_shown(group) if one != group.measure]
    columns: Columns = {
        "rank": [row.rank for row in group.rows],
        "backbone": [row.backbone for row in group.rows],
        group.measure.name if group.measure else "score": [one and one.mean for one in main],
        "spread": [one and one.half_width for one in main],
        **{
            one.name: [found and found.mean for found in (row.estimate(one) for row in group.rows)]
            for one in others
        },
        "seeds": [one and one.n for one in main],
        "published": [published_text(row, group.measure) for row in group.rows],
        "params_m": [row.params and row.params / _MILLION for row in group.rows],
        "madds_m": [row.madds and row.madds / _MILLION for row in group.rows],
        "p50_ms": [latency and latency.p50_ms for latency in latencies],
        "ratio": [latency and latency.ratio for latency in latencies],
        "runs": [[str(run) for run in runs_of(row)] for row in group.rows],
    }
    return {
        name: values
        for name, values in columns.items()
        if any(value is not None for value in values)
    }


def interval_caption(group: Group) -> str:
    """Say what stands under ± and what ranks go by without it; empty for latency."""
    estimates = [found for row in group.rows if (found := row.estimate(group.measure))]
    methods = {found.method for found in estimates}
    sources = {
        "t": "over seeds",
        "binomial": "from the number of validation images alone, where there is one seed",
    }
    known = " or ".join(text for method, text in sources.items() if method in methods)
    parts = [f"± is half of the 95 % interval, {known}"] if known else []
    if any(found.band and not found.method for found in estimates):
        single = group.task.single_seed
        parts.append(single[:1].upper() + single[1:])
    return "".join(f"{part}. " for part in parts)


def runs_of(row: Row) -> list[int]:
    """Return the runs behind a row's scores, and behind its latencies when it has no scores."""
    if row.accuracy:
        return list(row.accuracy.runs.values())
    return sorted({latency.run for latency in row.latency})


def published_text(row: Row, measure: Measure | None) -> str | None:
    """Return the published score, of our data set if there is one, else with its own named."""
    for beside in row.published:  # nearest first
        if measure and (text := measure.text(measure.printed(beside.row))):
            elsewhere = "" if beside.comparable else f" on {beside.row.dataset}"
            return f"{text}{elsewhere}"
    return None


def unsettled(group: Group, protocol: Protocol | None) -> list[str]:
    """Return the backbones whose latency under a protocol did not come to rest."""
    latencies = ((row.backbone, latency_of(row, protocol)) for row in group.rows)
    return [backbone for backbone, latency in latencies if latency and not latency.settled]


def spots(group: Group, *, cost: str, protocol: Protocol | None) -> list[Spot]:
    """Return what the trade-off plot draws: the rows that have both a score and this cost.

    Args:
        group: Whose rows.
        cost: One of `COSTS`.
        protocol: Under which latency counts.
    """
    made = []
    for row in group.rows:
        latency = latency_of(row, protocol)
        number = _cost(row, cost=cost, latency=latency)
        estimate = row.estimate(group.measure)
        if estimate and number:
            made.append(_spot(row, group, number=number, estimate=estimate, latency=latency))
    return made


def _cost(row: Row, *, cost: str, latency: Latency | None) -> float | None:
    if cost == "Latency":
        return latency.p50_ms if latency else None
    count = row.params if cost == "Parameters" else row.madds
    return count / _MILLION if count else None


def _spot(
    row: Row, group: Group, *, number: float, estimate: Estimate, latency: Latency | None
) -> Spot:
    text = row.text
    methods = "+".join(str(call) for call in text.methods)
    lines = [
        f"<b>{row.backbone}</b>",
        *(
            f"{one.title} {score_text(row.estimate(one), one)} {one.unit}"
            for one in scores_shown(group)
        ),
        f"{formats.millions(row.params or 0)} parameters",
        f"{formats.millions(row.madds or 0)} multiply-adds",
    ]
    if latency:
        lines.append(f"{formats.milliseconds(latency.p50_ms)} ms, {ratio_text(latency)} plain")
    return Spot(
        label=methods,
        network=str(text.network),
        method=method_name(row),
        cost=number,
        score=estimate.mean,
        low=estimate.low,
        high=estimate.high,
        hover="<br>".join([*lines, f"runs {', '.join(map(str, runs_of(row)))}"]),
    )
