"""The leaderboard: finished runs to groups of rows that may stand beside each other. Pure.

A group is one comparison key (`Key`): rows are ranked within it and never across. A row is one
backbone under one key, with the accuracy of its runs (one a seed) and the latencies that other runs
measured for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from backbones.errors import BackboneError
from backbones.text import Backbone, Call, parse
from convoy.errors import ConvoyError
from convoy.leaderboard.comparison import Key, difference, key_of
from convoy.leaderboard.intervals import Estimate, estimate, ranks
from convoy.leaderboard.latency import Latency, index, of_run
from convoy.leaderboard.publication import Beside, beside
from convoy.records import Json, Run

BENCHMARK = "benchmark"
MEASURES = {"top1": "top1_pct", "top5": "top5_pct"}
SORTS = ("rank", "params", "madds", "latency", "backbone")


@dataclass(frozen=True)
class Accuracy:
    """Scores of one backbone under one key.

    Attributes:
        estimates: Estimate of each measure that the runs have: ``top1``, ``top5``.
        runs: Run of each seed, by seed; of two runs of one seed the later counts.
        best_top1_pct: Mean over seeds of the best epoch's top-1, shown apart and never ranked;
            percent.
    """

    estimates: Mapping[str, Estimate]
    runs: Mapping[int, int]
    best_top1_pct: float | None = None


@dataclass(frozen=True)
class Row:
    """One backbone under one key.

    Attributes:
        backbone: Canonical text.
        key: Under which it was measured.
        params: Parameters.
        madds: Multiply-adds at batch 1, weight assembly included.
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


@dataclass(frozen=True)
class Group:
    """Rows of one key, best first.

    Attributes:
        key: What they share.
        rows: Ranked.
        differs: Facts in which this key is not the first group's: name to (value here, value
            there).
    """

    key: Key
    rows: tuple[Row, ...]
    differs: Mapping[str, tuple[Json, Json]] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """Which rows are asked for; empty fields do not narrow.

    Attributes:
        task: Such as ``classify``; ``benchmark`` asks for a ranking of latency.
        dataset: Its name, or the start of its fingerprint.
        recipe: Its name, or the start of its hash.
    """

    task: str = ""
    dataset: str = ""
    recipe: str = ""


def leaderboard(
    runs: Iterable[Run], *, wanted: Wanted | None = None, by: str = "top1", sort: str = "rank"
) -> list[Group]:
    """Make the leaderboard of some finished runs.

    Args:
        runs: Any runs; those without a result count for nothing.
        wanted: What is asked for. Task ``benchmark`` ranks latency, one group a device and
            protocol.
        by: The measure that ranks: ``top1`` or ``top5``.
        sort: Order within a group: ``rank``, ``params``, ``madds``, ``latency`` or ``backbone``.

    Returns:
        Groups, the one with most rows first.

    Raises:
        ConvoyError: `by` or `sort` is unknown.
    """
    for name, value, known in (("by", by, tuple(MEASURES)), ("sort", sort, SORTS)):
        if value not in known:
            raise ConvoyError(f"unknown {name} {value!r}; known: {', '.join(known)}")
    wanted = wanted or Wanted()
    finished = [run for run in runs if run.result and run.backbone]
    rows = _latency_rows(finished) if wanted.task == BENCHMARK else _score_rows(finished, wanted)
    groups: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.key].append(row)
    made = [Group(key, _ranked(rows, by=by, sort=sort)) for key, rows in groups.items()]
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
        facts = _facts(run)
        if run.kind != BENCHMARK and MEASURES["top1"] in _scores(run) and _is_wanted(facts, wanted):
            tried[key_of(facts), run.backbone].append(run)
    return [
        _row(key, sorted(same, key=lambda run: run.id), latencies=latencies)
        for (key, _), same in tried.items()
    ]


def _row(
    key: Key, runs: Sequence[Run], *, latencies: Mapping[tuple[Json, ...], tuple[Latency, ...]]
) -> Row:
    newest = runs[-1]
    accuracy = _accuracy({run.spec.get("seed", 0): run for run in runs})
    facts = _facts(newest)
    place = (newest.backbone, facts.get("image_size"), facts.get("classes"))
    return Row(
        newest.backbone,
        key,
        params=facts.get("params"),
        madds=facts.get("madds"),
        madds_assembly=facts.get("madds_assembly"),
        accuracy=accuracy,
        latency=latencies.get(place, ()),
        published=beside(newest.backbone, facts=facts, top1=accuracy.estimates["top1"]),
    )


def _accuracy(by_seed: Mapping[int, Run]) -> Accuracy:
    runs = [by_seed[seed] for seed in sorted(by_seed)]
    samples = _facts(runs[-1]).get("val_images")
    estimates = {
        measure: estimate([_scores(run)[name] for run in runs], samples=samples)
        for measure, name in MEASURES.items()
        if all(name in _scores(run) for run in runs)
    }
    best = [_scores(run).get("best_top1_pct") for run in runs]
    known = [value for value in best if value is not None]
    return Accuracy(
        estimates,
        {seed: by_seed[seed].id for seed in sorted(by_seed)},
        best_top1_pct=sum(known) / len(known) if known else None,
    )


def _latency_rows(runs: Sequence[Run]) -> list[Row]:
    found: dict[tuple[Key, str], Row] = {}
    for run in sorted((run for run in runs if run.kind == BENCHMARK), key=lambda run: run.id):
        facts = _facts(run)
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
            found[key, run.backbone] = Row(
                run.backbone,
                key,
                params=facts.get("params"),
                madds=facts.get("madds"),
                madds_assembly=facts.get("madds_assembly"),
                latency=(latency,),
            )
    return list(found.values())


def _ranked(rows: Sequence[Row], *, by: str, sort: str) -> tuple[Row, ...]:
    scored = [row for row in rows if row.accuracy and by in row.accuracy.estimates]
    estimates = [row.accuracy.estimates[by] for row in scored if row.accuracy]
    order = sorted(
        zip(scored, estimates, ranks(estimates), strict=True),
        key=lambda item: (item[2], -item[1].mean, item[0].params or 0, item[0].backbone),
    )
    ranked = [replace(row, rank=rank) for row, _, rank in order]
    timed = sorted((row for row in rows if not row.accuracy), key=_p50)
    ranked += [replace(row, rank=place) for place, row in enumerate(timed, 1)]
    orders: dict[str, Any] = {
        "params": lambda row: row.params or 0,
        "madds": lambda row: row.madds or 0,
        "latency": _p50,
        "backbone": lambda row: row.backbone,
    }
    return tuple(sorted(ranked, key=orders[sort]) if sort in orders else ranked)


def _p50(row: Row) -> float:
    return min((latency.p50_ms for latency in row.latency), default=float("inf"))


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


def _facts(run: Run) -> Mapping[str, Json]:
    return (run.result or {}).get("facts") or {}


def _scores(run: Run) -> Mapping[str, float]:
    return (run.result or {}).get("scores") or {}
