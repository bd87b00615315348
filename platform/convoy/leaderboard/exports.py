"""The leaderboard for other programs and for papers: JSON, CSV, Markdown, LaTeX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from convoy.leaderboard.comparison import IDENTITY, LABELS
from convoy.leaderboard.intervals import Estimate
from convoy.leaderboard.latency import Latency, shared_protocols
from convoy.leaderboard.measures import CLASSIFY, Measure, Task
from convoy.leaderboard.objects import object_of, score_cells, score_columns
from convoy.leaderboard.rows import BENCHMARK, Group, Row
from convoy.leaderboard.typesetting import Sheet, csv_text, latex, markdown
from convoy.records import Json

MILLION = 1e6

P50 = "p50 (ms)"
LATENCY = ("device", "protocol", "p50_ms", "ratio", "ratio_low", "ratio_high")
"""Columns of a latency in CSV."""


def columns(task: Task = CLASSIFY) -> tuple[str, ...]:
    """Return the columns of the CSV of a task's scores, which stand there without rows, too."""
    has_detectors = any(one.detectors for one in task.measures)
    shared = [name for name in (*LABELS, *IDENTITY) if has_detectors or name != "detector"]
    return (
        *("rank", "backbone", "network", "method", "settings", "params", "madds"),
        *("madds_assembly", *score_columns(task), "accuracy_runs", *LATENCY, "latency_run"),
        *(f"key_{name}" for name in shared),
    )


def as_json(groups: Sequence[Group]) -> list[dict[str, Json]]:
    """Return one object a row, the groups after each other; plain JSON values."""
    return [object_of(row, group) for group in groups for row in group.rows]


def as_csv(groups: Sequence[Group], *, task: Task = CLASSIFY) -> str:
    """Return one line a row, with the latency whose protocol most rows of its group share.

    Args:
        groups: Of one leaderboard.
        task: Whose columns stand there when there is no group.
    """
    lines = [_flat(row, group) for group in groups for row in group.rows]
    found = dict.fromkeys(name for line in lines for name in line)
    return csv_text(lines, columns=list(found) or columns(task))


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
    crop = "" if key["crop_pct"] is None else f", crop {key['crop_pct']}"
    detector = f"{key['detector']} · " if key["detector"] else ""
    weights = "EMA weights" if key["ema"] else "raw weights"
    return (
        f"{key['task']} · {detector}{key['dataset']} ({count} of {key['split']})"
        f" · recipe {key['recipe']}{seen} · from {key['initial']} · {key['image_size']} px{crop}"
        f" · {weights} · {key['precision']}"
    )


def scores_shown(group: Group, *, in_papers: bool = False) -> list[Measure]:
    """Return the measures that a table of a group has columns for, the one that ranks first.

    Args:
        group: Whose table; one of latencies has none.
        in_papers: Whether the table is to be printed, where more has room.
    """
    first = [group.measure] if group.measure else []
    wide = ("everywhere", "papers") if in_papers else ("everywhere",)
    return first + [one for one in group.measures if one.shown in wide and one not in first]


def score_text(estimate: Estimate | None, measure: Measure | None = None) -> str:
    """Return ``93.41 ± 0.20`` of several seeds, ``93.41 [91.2, 95.0]`` of one, percent.

    Args:
        estimate: What is to be written; None: ``-``.
        measure: Whose decimals are written; None: two.
    """
    if estimate is None:
        return "-"
    digits = measure.digits if measure else 2
    mean = f"{estimate.mean:.{digits}f}"
    if estimate.method == "t":
        return f"{mean} ± {estimate.half_width:.{digits}f}"
    if estimate.low is not None:
        return f"{mean} [{estimate.low:.1f}, {estimate.high:.1f}]"
    return mean


def interval_note(group: Group) -> str:
    """Say what the intervals of a group are, and what its ranks go by where there is none."""
    estimates = [e for row in group.rows if row.accuracy for e in row.accuracy.estimates.values()]
    words = {
        "t": "± is a 95 % t-interval over seeds",
        "binomial": "[ ] is the 95 % binomial interval of one seed, from the number of "
        "validation images alone",
    }
    said = [text for method, text in words.items() if any(e.method == method for e in estimates)]
    if any(e.band and not e.method for e in estimates):
        said.append(group.task.single_seed)
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


def _flat(row: Row, group: Group) -> dict[str, Json]:
    whole = object_of(row, group)
    latency = latency_of(row, main_protocol(group))
    facts: Mapping[str, Json] = row.key.facts()
    return {
        **{name: whole[name] for name in ("rank", "backbone", "network", "method")},
        "settings": ";".join(f"{name}={value}" for name, value in whole["settings"].items()),
        **{name: whole[name] for name in ("params", "madds", "madds_assembly")},
        **score_cells(whole["accuracy"], group.task),
        "accuracy_runs": " ".join(map(str, whole["accuracy"]["runs"])),
        **{name: getattr(latency, name) if latency else None for name in LATENCY},
        "latency_run": latency.run if latency else None,
        **{f"key_{name}": value for name, value in facts.items()},
    }


def millions(count: int | None) -> str:
    """Return a count in millions."""
    return "-" if count is None else f"{count / MILLION:.2f}"


def _cells(row: Row, group: Group, scores: Sequence[Measure]) -> dict[str, str]:
    latency = latency_of(row, main_protocol(group))
    main = row.estimate(group.measure)
    return {
        "Rank": "-" if row.rank is None else str(row.rank),
        "Backbone": row.backbone,
        **{one.heading: score_text(row.estimate(one), one) for one in scores},
        "Seeds": str(main.n) if main else "-",
        "Params (M)": millions(row.params),
        "MAdds (M)": millions(row.madds),
        P50: f"{latency.p50_ms:.2f}" if latency else "-",
        "Ratio": ratio_text(latency) if latency else "-",
    }


def _sheet(group: Group) -> Sheet:
    scores = scores_shown(group, in_papers=True)
    cells = [_cells(row, group, scores) for row in group.rows]
    headings = list(cells[0])
    bold = headings.index(group.measure.heading if group.measure else P50)
    return Sheet(
        title=headline(group),
        headings=headings,
        lines=[list(found.values()) for found in cells],
        left=("Backbone", "Ratio", *(one.heading for one in scores)),
        bold=[(number, bold) for number, row in enumerate(group.rows) if row.rank == 1],
        notes=[text for text in (interval_note(group), *latency_notes(group)) if text],
    )
