"""The leaderboard for other programs and for papers: JSON, CSV, Markdown, LaTeX."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from convoy.leaderboard.comparison import IDENTITY, LABELS
from convoy.leaderboard.intervals import Estimate
from convoy.leaderboard.latency import Latency, shared_protocols
from convoy.leaderboard.publication import Beside
from convoy.leaderboard.rows import BENCHMARK, Accuracy, Group, Row
from convoy.leaderboard.typesetting import Sheet, csv_text, latex, markdown
from convoy.records import Json

MILLION = 1e6

LATENCY = ("device", "protocol", "p50_ms", "ratio", "ratio_low", "ratio_high")
"""Columns of a latency in CSV."""
COLUMNS = (
    *("rank", "backbone", "network", "method", "settings", "params", "madds", "madds_assembly"),
    *("top1_pct", "n", "std", "interval", "top5_pct", "ci95_low_pct", "ci95_high_pct"),
    *("accuracy_runs", *LATENCY, "latency_run"),
    *(f"key_{name}" for name in (*LABELS, *IDENTITY)),
)
"""Columns of the CSV of scores, which stand there without rows, too."""


def as_json(groups: Sequence[Group]) -> list[dict[str, Json]]:
    """Return one object a row, the groups after each other; plain JSON values."""
    return [object_of(row) for group in groups for row in group.rows]


def as_csv(groups: Sequence[Group]) -> str:
    """Return one line a row, with the latency whose protocol most rows of its group share."""
    lines = [_flat(row, group) for group in groups for row in group.rows]
    found = dict.fromkeys(name for line in lines for name in line)
    return csv_text(lines, columns=list(found) or COLUMNS)


def as_markdown(groups: Sequence[Group]) -> str:
    """Return a table a group, its key above it."""
    return "\n".join(markdown(_sheet(group)) for group in groups)


def as_latex(groups: Sequence[Group]) -> str:
    """Return a ``tabular`` a group (package booktabs): first rank in bold, key in a footnote."""
    return "\n".join(latex(_sheet(group)) for group in groups)


def headline(group: Group) -> str:
    """Return what the rows of a group share, in one line for people."""
    key = group.key
    if key["task"] == BENCHMARK:
        return f"latency on {key['device']} · {key['protocol']} · {key['classes']} classes"
    count = f"{key['val_images']:,} images" if key["val_images"] else "images"
    seen = f", {key['train_samples_seen']:,} samples seen" if key["train_samples_seen"] else ""
    weights = "EMA weights" if key["ema"] else "raw weights"
    return (
        f"{key['task']} · {key['dataset']} ({count} of {key['split']}) · recipe {key['recipe']}"
        f"{seen} · from {key['initial']} · {key['image_size']} px, crop {key['crop_pct']}"
        f" · {weights} · {key['precision']}"
    )


def score_text(estimate: Estimate | None) -> str:
    """Return ``93.41 ± 0.20`` of several seeds, ``93.41 [91.2, 95.0]`` of one, percent."""
    if estimate is None:
        return "-"
    if estimate.method == "t":
        return f"{estimate.mean:.2f} ± {estimate.half_width:.2f}"
    if estimate.low is not None:
        return f"{estimate.mean:.2f} [{estimate.low:.1f}, {estimate.high:.1f}]"
    return f"{estimate.mean:.2f}"


def interval_note(rows: Sequence[Row]) -> str:
    """Say what the intervals of these rows are."""
    estimates = [e for row in rows if row.accuracy for e in row.accuracy.estimates.values()]
    words = {
        "t": "± is a 95 % t-interval over seeds",
        "binomial": "[ ] is the 95 % binomial interval of one seed, from the number of "
        "validation images alone",
    }
    said = [text for method, text in words.items() if any(e.method == method for e in estimates)]
    return "; ".join(said)


def ratio_text(latency: Latency) -> str:
    """Return ``1.31x [1.25, 1.38]``, the ratio to the plain network."""
    if latency.ratio is None:
        return "-"
    if latency.ratio_low is None or latency.ratio_high is None:
        return f"{latency.ratio:.2f}x"
    return f"{latency.ratio:.2f}x [{latency.ratio_low:.2f}, {latency.ratio_high:.2f}]"


def latency_of(row: Row, protocol: tuple[str, str] | None) -> Latency | None:
    """Return a row's latency under a (device, protocol), if it has one."""
    for latency in row.latency:
        if (latency.device, latency.protocol) == protocol:
            return latency
    return None


def main_protocol(group: Group) -> tuple[str, str] | None:
    """Return the (device, protocol) that most rows of a group have been measured under."""
    return next(iter(protocols(group)), None)


def protocols(group: Group) -> list[tuple[str, str]]:
    """Return every (device, protocol) of a group, the most frequent first."""
    return shared_protocols(group.rows)


def latency_notes(group: Group) -> list[str]:
    """Say how the latencies that a table shows were measured, and which did not come to rest."""
    pair = main_protocol(group)
    if pair is None:
        return []
    shaky = [
        row.backbone
        for row in group.rows
        if (latency := latency_of(row, pair)) and not latency.settled
    ]
    rest = [f"latency did not come to rest: {', '.join(shaky)}"] if shaky else []
    return [f"latency: {pair[1]} on {pair[0]}; ratio to the plain network, same process", *rest]


def object_of(row: Row) -> dict[str, Json]:
    """Return a row as plain JSON values."""
    text = row.text
    methods = {call.name: dict(call.settings) for call in text.methods}
    return {
        "backbone": row.backbone,
        "network": text.network.name,
        "network_options": dict(text.network.settings),
        "method": "+".join(methods),
        "settings": methods if len(methods) > 1 else next(iter(methods.values())),
        "task": row.key["task"],
        "dataset": row.key["dataset"],
        "recipe": row.key["recipe"],
        "rank": row.rank,
        "params": row.params,
        "madds": row.madds,
        "madds_assembly": row.madds_assembly,
        "accuracy": accuracy_object(row.accuracy),
        "latency": [dataclasses.asdict(latency) for latency in row.latency],
        "published": [published_object(beside) for beside in row.published],
        "key": row.key.facts(),
    }


def published_object(beside: Beside) -> dict[str, Json]:
    """Return a published row with what was found beside it as plain JSON values."""
    return {
        **beside.row.model_dump(mode="json"),
        "comparable": beside.comparable,
        "top1_difference": beside.top1_difference,
        "within_noise": beside.within_noise,
        "differences": list(beside.differences),
    }


def accuracy_object(accuracy: Accuracy | None) -> dict[str, Json]:
    """Return scores as plain JSON values."""
    if accuracy is None:
        return {"top1_pct": None, "n": 0, "std": None, "ci95_pct": None, "runs": []}
    top1, top5 = accuracy.estimates["top1"], accuracy.estimates.get("top5")
    return {
        "top1_pct": top1.mean,
        "n": top1.n,
        "std": top1.std,
        "ci95_pct": None if top1.low is None else [top1.low, top1.high],
        "interval": top1.method,
        "runs": list(accuracy.runs.values()),
        "seeds": list(accuracy.runs),
        "top5_pct": top5.mean if top5 else None,
        "best_top1_pct": accuracy.best_top1_pct,
    }


def _flat(row: Row, group: Group) -> dict[str, Json]:
    whole = object_of(row)
    accuracy = whole.pop("accuracy")
    low, high = accuracy["ci95_pct"] or (None, None)
    latency = latency_of(row, main_protocol(group))
    facts: Mapping[str, Json] = row.key.facts()
    return {
        **{name: whole[name] for name in ("rank", "backbone", "network", "method")},
        "settings": ";".join(f"{name}={value}" for name, value in whole["settings"].items()),
        **{name: whole[name] for name in ("params", "madds", "madds_assembly")},
        **{name: accuracy.get(name) for name in ("top1_pct", "n", "std", "interval", "top5_pct")},
        "ci95_low_pct": low,
        "ci95_high_pct": high,
        "accuracy_runs": " ".join(map(str, accuracy["runs"])),
        **{name: getattr(latency, name) if latency else None for name in LATENCY},
        "latency_run": latency.run if latency else None,
        **{f"key_{name}": value for name, value in facts.items()},
    }


def millions(count: int | None) -> str:
    """Return a count in millions."""
    return "-" if count is None else f"{count / MILLION:.2f}"


def _cells(row: Row, group: Group) -> list[str]:
    estimates: Mapping[str, Estimate] = row.accuracy.estimates if row.accuracy else {}
    latency = latency_of(row, main_protocol(group))
    top1 = estimates.get("top1")
    return [
        "-" if row.rank is None else str(row.rank),
        row.backbone,
        score_text(top1),
        str(top1.n) if top1 else "-",
        millions(row.params),
        millions(row.madds),
        f"{latency.p50_ms:.2f}" if latency else "-",
        ratio_text(latency) if latency else "-",
    ]


HEADINGS = (
    "Rank",
    "Backbone",
    "Top-1 (%)",
    "Seeds",
    "Params (M)",
    "MAdds (M)",
    "p50 (ms)",
    "Ratio",
)


def _sheet(group: Group) -> Sheet:
    return Sheet(
        title=headline(group),
        headings=HEADINGS,
        lines=[_cells(row, group) for row in group.rows],
        left=("Backbone", "Top-1 (%)", "Ratio"),
        bold=[
            (number, 2 if row.accuracy else 6)
            for number, row in enumerate(group.rows)
            if row.rank == 1
        ],
        notes=[text for text in (interval_note(group.rows), *latency_notes(group)) if text],
    )
