"""A study's table for people and for other programs: cells, JSON, CSV, Markdown, LaTeX."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from convoy.leaderboard import exports
from convoy.leaderboard.intervals import Estimate
from convoy.leaderboard.study import Board, Line, state_text, verdict
from convoy.leaderboard.typesetting import Sheet, csv_text, latex, markdown
from convoy.records import Json

HEADINGS = (
    *("Rank", "Backbone", "Top-1 (%)", "Seeds", "Published (%)", "Difference"),
    *("Params (M)", "Published (M)", "MAdds (M)", "p50 (ms)", "Ratio", "State", "Runs"),
)
LEFT = ("Backbone", "Top-1 (%)", "Difference", "Ratio", "State", "Runs")
_OPTIONAL = ("Rank", "Seeds", "MAdds (M)", "Params (M)", "p50 (ms)", "Ratio")
"""Columns that are left away when nothing stands in them."""

COLUMNS = (
    *("study", "rank", "backbone", "state", "runs", "top1_pct", "n", "std", "interval"),
    *("ci95_low_pct", "ci95_high_pct", "top5_pct", "published_top1_pct", "published_top5_pct"),
    *("top1_difference", "within_noise", "comparable", "not_comparable_because", "params"),
    *("published_params_m", "madds", "madds_assembly", *exports.LATENCY, "recipe", "data"),
    *("published_recipe", "source", "note"),
)
"""Columns of the CSV."""


def cells(line: Line, board: Board) -> dict[str, str]:
    """Return the cells of a row by heading; ``-`` where nothing is known."""
    row, printed = line.measured, line.published
    estimates: Mapping[str, Estimate] = row.accuracy.estimates if row and row.accuracy else {}
    top1 = estimates.get("top1")
    pair = exports.main_protocol(board.group) if board.group else None
    latency = exports.latency_of(row, pair) if row else None
    found = {
        "Rank": str(row.rank) if row and row.rank else "",
        "Backbone": line.row.backbone,
        "Top-1 (%)": exports.score_text(top1),
        "Seeds": str(top1.n) if top1 else "",
        "Published (%)": f"{printed.top1_pct:.2f}" if printed and printed.top1_pct else "",
        "Difference": verdict(line),
        "Params (M)": exports.millions(row.params) if row else "",
        "Published (M)": f"{printed.params_m:.2f}" if printed and printed.params_m else "",
        "MAdds (M)": exports.millions(row.madds) if row else "",
        "p50 (ms)": f"{latency.p50_ms:.2f}" if latency else "",
        "Ratio": exports.ratio_text(latency) if latency else "",
        "State": state_text(line),
        "Runs": " ".join(map(str, line.runs)),
    }
    return {name: found[name] or "-" for name in HEADINGS}


def shown_headings(board: Board) -> list[str]:
    """Return the columns of a study's table without those in which nothing stands yet."""
    lines = [cells(line, board) for line in board.lines]
    return [
        name
        for name in HEADINGS
        if name not in _OPTIONAL or any(found[name] != "-" for found in lines)
    ]


def headline(board: Board) -> str:
    """Return what a study's table is called."""
    return f"{board.study.name}: {board.study.title}"


def notes(board: Board) -> list[str]:
    """Return what a reader of the table must know, a line each."""
    study, group = board.study, board.group
    recipe = study.recipe
    lines = [
        f"one recipe for all rows: {recipe.name} ({recipe.epochs} epochs, {recipe.image_size} px)",
        f"published: {study.paper}" if study.paper else "",
        f"source of the figures: {study.origin}",
        f"measured: {exports.headline(group)}" if group else "",
        exports.interval_note(group.rows) if group else "",
        *(exports.latency_notes(group) if group else ()),
    ]
    if group and not board.is_as_planned:
        lines.append(f"measured under {group.key['recipe']}, not under {recipe.name}")
    lines += [f"{line.row.backbone}: {known}" for line in board.lines if (known := _known(line))]
    return [line for line in (*lines, *study.notes) if line]


def as_json(board: Board) -> list[dict[str, Json]]:
    """Return one object a row; plain JSON values."""
    return [_object(line, board) for line in board.lines]


def as_csv(board: Board) -> str:
    """Return one line a row, with headings."""
    return csv_text([_flat(line, board) for line in board.lines], columns=COLUMNS)


def as_markdown(board: Board) -> str:
    """Return the table with its title and notes."""
    return markdown(_sheet(board))


def as_latex(board: Board) -> str:
    """Return a ``tabular`` (package booktabs): first rank in bold, notes as footnotes."""
    return latex(_sheet(board))


def _known(line: Line) -> str:
    """Return what is known to differ between a row and its source."""
    theirs = f"theirs was trained with {line.other_recipe}" if line.other_recipe else ""
    printed = line.published.note if line.published else ""
    return "; ".join(filter(None, (line.row.note, theirs, printed)))


def _sheet(board: Board) -> Sheet:
    shown = shown_headings(board)
    found = [cells(line, board) for line in board.lines]
    score = shown.index("Top-1 (%)")
    return Sheet(
        title=headline(board),
        headings=shown,
        lines=[[one[name] for name in shown] for one in found],
        left=LEFT,
        bold=[(number, score) for number, one in enumerate(found) if one["Rank"] == "1"],
        notes=notes(board),
    )


def _object(line: Line, board: Board) -> dict[str, Json]:
    row, printed = line.measured, line.published
    beside = exports.published_object(line.beside) if line.beside else None
    if beside is None and printed is not None:
        beside = printed.model_dump(mode="json")
    return {
        "study": board.study.name,
        "title": board.study.title,
        "rank": row.rank if row else None,
        "backbone": line.row.backbone,
        "state": line.state,
        "runs": list(line.runs),
        "open_runs": list(line.open_runs),
        "recipe": row.key["recipe"] if row else None,
        "study_recipe": board.study.recipe.name,
        "published_recipe": line.other_recipe or (printed.recipe if printed else ""),
        "params": row.params if row else None,
        "madds": row.madds if row else None,
        "madds_assembly": row.madds_assembly if row else None,
        "accuracy": exports.accuracy_object(row.accuracy if row else None),
        "latency": [dataclasses.asdict(one) for one in row.latency] if row else [],
        "published": beside,
        "comparable": bool(line.beside and line.beside.comparable),
        "not_comparable_because": line.reason,
        "top1_difference": line.beside.top1_difference if line.beside else None,
        "within_noise": line.beside.within_noise if line.beside else None,
        "note": line.row.note,
        "key": row.key.facts() if row else None,
    }


def _flat(line: Line, board: Board) -> dict[str, Json]:
    whole = _object(line, board)
    accuracy, printed = whole["accuracy"], whole["published"] or {}
    low, high = accuracy["ci95_pct"] or (None, None)
    pair = exports.main_protocol(board.group) if board.group else None
    latency = exports.latency_of(line.measured, pair) if line.measured else None
    found = {
        **{name: whole.get(name) for name in COLUMNS},
        **{name: accuracy.get(name) for name in ("top1_pct", "n", "std", "interval", "top5_pct")},
        "ci95_low_pct": low,
        "ci95_high_pct": high,
        "runs": " ".join(map(str, line.runs)),
        "published_top1_pct": printed.get("top1_pct"),
        "published_top5_pct": printed.get("top5_pct"),
        "published_params_m": printed.get("params_m"),
        "source": printed.get("source"),
        **{name: getattr(latency, name) if latency else None for name in exports.LATENCY},
        "data": (whole["key"] or {}).get("dataset"),
    }
    return {name: found[name] for name in COLUMNS}
