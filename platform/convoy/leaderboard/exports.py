"""The leaderboard for other programs and for papers: JSON, CSV, Markdown, LaTeX."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence

from convoy.leaderboard.intervals import Estimate
from convoy.leaderboard.latency import Latency, shared_protocols
from convoy.leaderboard.rows import BENCHMARK, Accuracy, Group, Row
from convoy.records import Json

MILLION = 1e6


def as_json(groups: Sequence[Group]) -> list[dict[str, Json]]:
    """Return one object a row, the groups after each other; plain JSON values."""
    return [_object(row) for group in groups for row in group.rows]


def as_csv(groups: Sequence[Group]) -> str:
    """Return one line a row, with the latency whose protocol most rows of its group share."""
    out = io.StringIO()
    lines = [_flat(row, group) for group in groups for row in group.rows]
    writer = csv.DictWriter(out, fieldnames=list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def as_markdown(groups: Sequence[Group]) -> str:
    """Return a table a group, its key above it."""
    return "\n".join(_markdown(group) for group in groups)


def as_latex(groups: Sequence[Group]) -> str:
    """Return a ``tabular`` a group (package booktabs): first rank in bold, key in a footnote."""
    return "\n".join(_latex(group) for group in groups)


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


def _object(row: Row) -> dict[str, Json]:
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
        "accuracy": _accuracy_object(row.accuracy),
        "latency": [dataclasses.asdict(latency) for latency in row.latency],
        "published": [
            {
                **beside.row.model_dump(mode="json"),
                "comparable": beside.comparable,
                "top1_difference": beside.top1_difference,
                "within_noise": beside.within_noise,
                "differences": list(beside.differences),
            }
            for beside in row.published
        ],
        "key": row.key.facts(),
    }


def _accuracy_object(accuracy: Accuracy | None) -> dict[str, Json]:
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
    whole = _object(row)
    accuracy = whole.pop("accuracy")
    low, high = accuracy["ci95_pct"] or (None, None)
    latency = latency_of(row, main_protocol(group))
    names = ("device", "protocol", "p50_ms", "ratio", "ratio_low", "ratio_high")
    facts: Mapping[str, Json] = row.key.facts()
    return {
        **{name: whole[name] for name in ("rank", "backbone", "network", "method")},
        "settings": ";".join(f"{name}={value}" for name, value in whole["settings"].items()),
        **{name: whole[name] for name in ("params", "madds", "madds_assembly")},
        **{name: accuracy.get(name) for name in ("top1_pct", "n", "std", "interval", "top5_pct")},
        "ci95_low_pct": low,
        "ci95_high_pct": high,
        "accuracy_runs": " ".join(map(str, accuracy["runs"])),
        **{name: getattr(latency, name) if latency else None for name in names},
        "latency_run": latency.run if latency else None,
        **{f"key_{name}": value for name, value in facts.items()},
    }


def _millions(count: int | None) -> str:
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
        _millions(row.params),
        _millions(row.madds),
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


def _notes(group: Group) -> list[str]:
    pair = main_protocol(group)
    timed = [f"latency: {pair[1]} on {pair[0]}, ratio to the plain network"] if pair else []
    return [text for text in (headline(group), interval_note(group.rows), *timed) if text]


def _markdown(group: Group) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    right = [
        "---:" if name not in {"Backbone", "Top-1 (%)", "Ratio"} else "---" for name in HEADINGS
    ]
    rows = [line(_cells(row, group)) for row in group.rows]
    head, *notes = _notes(group)
    return "\n".join(
        [f"**{head}**", "", line(HEADINGS), line(right), *rows, "", "; ".join(notes), ""]
    )


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "_": r"\_",
        "%": r"\%",
        "&": r"\&",
        "#": r"\#",
        "$": r"\$",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "·": r"$\cdot$",
    }
)


def _escape(text: str) -> str:
    return text.translate(_LATEX)


def _latex(group: Group) -> str:
    lines = []
    for row in group.rows:
        cells = [_escape(cell) for cell in _cells(row, group)]
        if row.rank == 1:
            cells[2 if row.accuracy else 6] = rf"\textbf{{{cells[2 if row.accuracy else 6]}}}"
        lines.append("  " + " & ".join(cells) + r" \\")
    span = rf"\multicolumn{{{len(HEADINGS)}}}"
    notes = [rf"  {span}{{l}}{{\footnotesize {_escape(note)}}} \\" for note in _notes(group)]
    return "\n".join(
        [
            r"\begin{tabular}{rlrrrrrl}",
            r"  \toprule",
            "  " + " & ".join(_escape(name) for name in HEADINGS) + r" \\",
            r"  \midrule",
            *lines,
            r"  \bottomrule",
            *notes,
            r"\end{tabular}",
            "",
        ]
    )
