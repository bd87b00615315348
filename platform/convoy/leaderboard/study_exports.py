"""A study's table for people and for other programs: cells, JSON, CSV, Markdown, LaTeX."""

from __future__ import annotations

import dataclasses

from backbones.method import Published
from convoy.leaderboard import exports
from convoy.leaderboard.measures import Measure, task_of
from convoy.leaderboard.objects import (
    accuracy_object,
    published_object,
    score_cells,
    score_columns,
)
from convoy.leaderboard.study import Board, Line, state_text, verdict
from convoy.leaderboard.typesetting import Sheet, csv_text, latex, markdown
from convoy.records import Json

P50 = exports.P50
_OPTIONAL = ("Rank", "Seeds", "MAdds (M)", "Params (M)", "Published (M)", P50, "Ratio")
"""Columns that are left away when nothing stands in them."""


def left(board: Board) -> tuple[str, ...]:
    """Return the columns that are words or scores with their spread; the others are figures."""
    scores = (one.heading for one in board.measures)
    return ("Backbone", *scores, "Difference", "Ratio", "State", "Runs")


def columns(board: Board) -> tuple[str, ...]:
    """Return the columns of the CSV."""
    printed = [f"published_{one.score}" for one in _with_figures(board)]
    return (
        *("study", "rank", "backbone", "state", "runs", *score_columns(task_of(board.study.kind))),
        *(*printed, f"{board.measure.name}_difference", "within_noise", "comparable"),
        *("not_comparable_because", "params", "published_params_m", "madds", "madds_assembly"),
        *(*exports.LATENCY, "recipe", "data", "published_recipe", "source", "note"),
    )


def cells(line: Line, board: Board) -> dict[str, str]:
    """Return the cells of a row by heading; ``-`` where nothing is known."""
    row, printed = line.measured, line.published
    pair = exports.main_protocol(board.group) if board.group else None
    latency = exports.latency_of(row, pair) if row else None
    main = row.estimate(board.measure) if row else None
    found = {
        "Rank": str(row.rank) if row and row.rank else "",
        "Backbone": line.row.backbone,
        board.measure.heading: exports.score_text(main, board.measure),
        "Seeds": str(main.n) if main else "",
        "Published (%)": _printed(printed, board.measure),
        "Difference": verdict(line, board.measure),
        **_others(line, board),
        "Params (M)": exports.millions(row.params) if row else "",
        "Published (M)": f"{printed.params_m:.2f}" if printed and printed.params_m else "",
        "MAdds (M)": exports.millions(row.madds) if row else "",
        P50: f"{latency.p50_ms:.2f}" if latency else "",
        "Ratio": exports.ratio_text(latency) if latency else "",
        "State": state_text(line),
        "Runs": " ".join(map(str, line.runs)),
    }
    return {name: text or "-" for name, text in found.items()}


def shown_headings(board: Board) -> list[str]:
    """Return the columns of a study's table without those in which nothing stands yet."""
    lines = [cells(line, board) for line in board.lines]
    return [
        name
        for name in lines[0]
        if name not in _OPTIONAL or any(found[name] != "-" for found in lines)
    ]


def other_measures(board: Board) -> list[Measure]:
    """Return the measures that stand beside the one that ranks."""
    return [one for one in board.measures if one.shown == "everywhere" and one != board.measure]


def _others(line: Line, board: Board) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in other_measures(board):
        measured = line.measured.estimate(one) if line.measured else None
        found[one.heading] = exports.score_text(measured, one)
        found[f"Published {one.word} ({one.unit})"] = _printed(line.published, one)
    return found


def _printed(row: Published | None, measure: Measure) -> str:
    return measure.text(measure.printed(row)) if row else ""


def _with_figures(board: Board) -> list[Measure]:
    """Return the measures of which published rows have figures of their own."""
    return [one for one in board.measures if one.score in Published.model_fields]


def headline(board: Board) -> str:
    """Return what a study's table is called."""
    return f"{board.study.name}: {board.study.title}"


def notes(board: Board) -> list[str]:
    """Return what a reader of the table must know, a line each."""
    study, group = board.study, board.group
    recipe = study.recipe
    lines = [
        f"one recipe for all rows: {recipe.name} ({recipe.epochs} epochs, {recipe.scored_px} px)",
        f"published: {study.paper}" if study.paper else "",
        f"source of the figures: {study.origin}",
        f"measured: {exports.headline(group)}" if group else "",
        exports.interval_note(group) if group else "",
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
    return csv_text([_flat(line, board) for line in board.lines], columns=columns(board))


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
    score = shown.index(board.measure.heading)
    return Sheet(
        title=headline(board),
        headings=shown,
        lines=[[one[name] for name in shown] for one in found],
        left=left(board),
        bold=[(number, score) for number, one in enumerate(found) if one["Rank"] == "1"],
        notes=notes(board),
    )


def _object(line: Line, board: Board) -> dict[str, Json]:
    row, printed = line.measured, line.published
    beside = published_object(line.beside, by=board.measure) if line.beside else None
    if beside is None and printed is not None:
        beside = printed.model_dump(mode="json")
    found = line.beside.compared.get(board.measure.name) if line.beside else None
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
        "accuracy": accuracy_object(
            row.accuracy if row else None, measures=board.measures, by=board.measure
        ),
        "latency": [dataclasses.asdict(one) for one in row.latency] if row else [],
        "published": beside,
        "comparable": bool(line.beside and line.beside.comparable),
        "not_comparable_because": line.reason,
        f"{board.measure.name}_difference": found.difference if found else None,
        "within_noise": found.within_noise if found else None,
        "note": line.row.note,
        "key": row.key.facts() if row else None,
    }


def _flat(line: Line, board: Board) -> dict[str, Json]:
    whole = _object(line, board)
    printed = whole["published"] or {}
    pair = exports.main_protocol(board.group) if board.group else None
    latency = exports.latency_of(line.measured, pair) if line.measured else None
    found = {
        **whole,
        **score_cells(whole["accuracy"], task_of(board.study.kind)),
        "runs": " ".join(map(str, line.runs)),
        **{f"published_{one.score}": printed.get(one.score) for one in _with_figures(board)},
        "published_params_m": printed.get("params_m"),
        "source": printed.get("source"),
        **{name: getattr(latency, name) if latency else None for name in exports.LATENCY},
        "data": (whole["key"] or {}).get("dataset"),
    }
    return {name: found[name] for name in columns(board)}
