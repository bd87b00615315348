"""The leaderboard: finished runs to groups of rows that may stand beside each other. Pure.

A group is one comparison key (`Key`): rows are ranked within it and never across. A row is one
backbone under one key, with the accuracy of its runs (one a seed) and the latencies that other runs
measured for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from backbones.errors import BackboneError
from backbones.text import Backbone, Call, parse
from convoy.errors import ConvoyError
from convoy.leaderboard.accuracy import Accuracy, accuracy_of, facts_of, is_scored
from convoy.leaderboard.comparison import Key, difference, key_of
from convoy.leaderboard.intervals import Estimate, ranks
from convoy.leaderboard.latency import (
    Latency,
    Place,
    index,
    of_run,
    place_of,
    shared_protocols,
)
from convoy.leaderboard.measures import Measure, Task, ranking, require, task_of
from convoy.leaderboard.publication import Beside, beside
from convoy.records import Json, Run

BENCHMARK = "benchmark"
SORTS = ("rank", "params", "madds", "latency", "backbone")


@dataclass(frozen=True)
class Row:
    """One backbone under one key.

    Attributes:
        backbone: Canonical text.
        key: Under which it was measured.
        params: Parameters.
        madds: Multiply-adds at batch 1, weight assembly included; of a detector, as `params`, in
            all.
        madds_assembly: The share of weight assembly.
        accuracy: Its scores; None in a ranking of latency.
        latency: One a protocol and device.
        published: What papers print for this backbone.
        rank: 1 + the number of rows that are better beyond their intervals; None without a score.
    """

    backbone: str
    key: Key
    params: int | None = None
    madds: int | None = None
    madds_assembly: int | None = None
    accuracy: Accuracy | None = None
    latency: tuple[Latency, ...] = ()
    published: tuple[Beside, ...] = ()
    rank: int | None = None

    @property
    def text(self) -> Backbone:
        """The backbone's text, read."""
        return parsed(self.backbone)

    def estimate(self, measure: Measure | None) -> Estimate | None:
        """Return its score in a measure, if it has one."""
        if self.accuracy is None or measure is None:
            return None
        return self.accuracy.estimates.get(measure.name)


@dataclass(frozen=True)
class Group:
    """Rows of one key, best first.

    Attributes:
        key: What they share.
        rows: Ranked.
        differs: Facts in which this key is not the first group's: name to (value here, value
            there).
        by: Name of the measure that ranks; of another task's, or empty: the task's own.
    """

    key: Key
    rows: tuple[Row, ...]
    differs: Mapping[str, tuple[Json, Json]] = field(default_factory=dict)
    by: str = ""

    @property
    def task(self) -> Task:
        """What its rows were scored for."""
        return task_of(self.key["task"])

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What its rows may have been scored in."""
        return self.task.applying(self.key["detector"])

    @property
    def measure(self) -> Measure | None:
        """The measure that ranks; None for latency."""
        return ranking(self.measures, self.by)


@dataclass(frozen=True)
class Wanted:
    """Which rows are asked for; empty fields do not narrow.

    Attributes:
        task: Such as ``classify`` or ``detect``; ``benchmark`` asks for a ranking of latency.
        dataset: Its name, or the start of its fingerprint.
        recipe: Its name, or the start of its hash.
    """

    task: str = ""
    dataset: str = ""
    recipe: str = ""


def leaderboard(
    runs: Iterable[Run], *, wanted: Wanted | None = None, by: str = "", sort: str = "rank"
) -> list[Group]:
    """Make the leaderboard of some finished runs.

    Args:
        runs: Any runs; those without a result count for nothing.
        wanted: What is asked for. Task ``benchmark`` ranks latency, one group a device and
            protocol.
        by: Name of the measure that ranks (see `measures.TASKS`); empty: each task's own.
        sort: Order within a group: ``rank``, ``params``, ``madds``, ``latency`` or ``backbone``.

    Returns:
        Groups, the one with most rows first.

    Raises:
        ConvoyError: `by` or `sort` is unknown.
    """
    wanted = wanted or Wanted()
    require(by, [wanted.task] if wanted.task else ())
    if sort not in SORTS:
        raise ConvoyError(f"unknown sort {sort!r}; known: {', '.join(SORTS)}")
    finished = [run for run in runs if run.result and run.backbone]
    rows = _latency_rows(finished) if wanted.task == BENCHMARK else _score_rows(finished, wanted)
    groups: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.key].append(row)
    made = [_group(key, rows, by=by, sort=sort) for key, rows in groups.items()]
    made.sort(key=lambda group: (-len(group.rows), -_newest(group)))
    return [replace(group, differs=difference(group.key, made[0].key)) for group in made]


def parsed(text: str) -> Backbone:
    """Read a stored backbone; one that an older grammar wrote becomes a network of that name."""
    try:
        return parse(text)
    except BackboneError:
        return Backbone(Call(text), (Call(""),))


def _score_rows(runs: Sequence[Run], wanted: Wanted) -> list[Row]:
    latencies = index(run for run in runs if run.kind == BENCHMARK)
    tried: dict[tuple[Key, str], list[Run]] = defaultdict(list)
    for run in runs:
        if run.kind != BENCHMARK and is_scored(run) and _is_wanted(facts_of(run), wanted):
            tried[key_of(facts_of(run)), run.backbone].append(run)
    return [
        _row(key, sorted(same, key=lambda run: run.id), latencies=latencies)
        for (key, _), same in tried.items()
    ]


def _row(key: Key, runs: Sequence[Run], *, latencies: Mapping[Place, tuple[Latency, ...]]) -> Row:
    newest = runs[-1]
    accuracy = accuracy_of({run.spec.get("seed", 0): run for run in runs})
    facts = facts_of(newest)
    return Row(
        newest.backbone,
        key,
        params=facts.get("params"),
        madds=facts.get("madds"),
        madds_assembly=facts.get("madds_assembly"),
        accuracy=accuracy,
        latency=latencies.get(place_of(newest.backbone, facts), ()),
        published=beside(newest.backbone, facts=facts, estimates=accuracy.estimates),
    )


def _latency_rows(runs: Sequence[Run]) -> list[Row]:
    found: dict[tuple[Key, str], Row] = {}
    for run in sorted((run for run in runs if run.kind == BENCHMARK), key=lambda run: run.id):
        facts = facts_of(run)
        for latency in of_run(run):
            key = Key(
                (
                    ("task", BENCHMARK),
                    ("device", latency.device),
                    ("protocol", latency.protocol),
                    ("image_size", facts.get("image_size")),
                    ("classes", facts.get("classes")),
                )
            )
            measured = "backbone_" if latency.is_of_backbone else ""
            found[key, run.backbone] = Row(
                run.backbone,
                key,
                params=facts.get(f"{measured}params"),
                madds=facts.get(f"{measured}madds"),
                madds_assembly=facts.get("madds_assembly"),
                latency=(latency,),
            )
    return list(found.values())


def _group(key: Key, rows: Sequence[Row], *, by: str, sort: str) -> Group:
    group = Group(key, tuple(rows), by=by)
    return replace(group, rows=_ranked(rows, measure=group.measure, sort=sort))


def _ranked(rows: Sequence[Row], *, measure: Measure | None, sort: str) -> tuple[Row, ...]:
    scored = [(row, found) for row in rows if (found := row.estimate(measure))]
    more_is_better = measure is None or measure.more_is_better
    places = ranks([found for _, found in scored], more_is_better=more_is_better)
    sign = -1 if more_is_better else 1
    order = sorted(
        zip(scored, places, strict=True),
        key=lambda item: (
            item[1],
            sign * item[0][1].mean,
            item[0][0].params or 0,
            item[0][0].backbone,
        ),
    )
    ranked = [replace(row, rank=rank) for (row, _), rank in order]
    ranked += [row for row in rows if row.accuracy and not row.estimate(measure)]
    p50 = _p50_of(rows)
    timed = sorted((row for row in rows if not row.accuracy), key=p50)
    ranked += [replace(row, rank=place) for place, row in enumerate(timed, 1)]
    orders: dict[str, Any] = {
        "params": lambda row: row.params or 0,
        "madds": lambda row: row.madds or 0,
        "latency": p50,
        "backbone": lambda row: row.backbone,
    }
    return tuple(sorted(ranked, key=orders[sort]) if sort in orders else ranked)


def _p50_of(rows: Sequence[Row]) -> Callable[[Row], float]:
    """Return what sorts rows by latency: the median under the protocol that most of them have.

    Others say nothing beside it: the backbone of a detector alone, another batch, another device.
    """
    shared = shared_protocols(rows)[:1]

    def p50(row: Row) -> float:
        under = (one.p50_ms for one in row.latency if (one.device, one.protocol) in shared)
        return min(under, default=float("inf"))

    return p50


def _newest(group: Group) -> int:
    ids = [max(row.accuracy.runs.values()) for row in group.rows if row.accuracy]
    return max(ids, default=0)


def _is_wanted(facts: Mapping[str, Json], wanted: Wanted) -> bool:
    def fits(text: str, *, name: str, digest: str) -> bool:
        return not text or text == facts.get(name) or str(facts.get(digest, "")).startswith(text)

    return (
        (not wanted.task or wanted.task == facts.get("task"))
        and fits(wanted.dataset, name="dataset", digest="dataset_fingerprint")
        and fits(wanted.recipe, name="recipe", digest="recipe_hash")
    )
