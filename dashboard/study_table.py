"""A study's table as the page shows it: measured beside published, in columns."""

from __future__ import annotations

from typing import Literal

from convoy.leaderboard import exports
from convoy.leaderboard.intervals import Estimate
from convoy.leaderboard.measures import Measure
from convoy.leaderboard.study import Board, Line, state_text, verdict
from convoy.leaderboard.study_exports import other_measures
from dashboard.rows import Columns

_MILLION = 1e6


def table(board: Board) -> Columns:
    """Return every row of a study, without columns that nothing is known for."""
    pair = exports.main_protocol(board.group) if board.group else None
    latencies = [
        exports.latency_of(line.measured, pair) if line.measured else None for line in board.lines
    ]
    main = [_estimate(line, board.measure) for line in board.lines]
    columns: Columns = {
        "rank": [line.measured and line.measured.rank for line in board.lines],
        "backbone": [line.row.backbone for line in board.lines],
        "state": [state_text(line) for line in board.lines],
        board.measure.name: [one and one.mean for one in main],
        "spread": [one and one.half_width for one in main],
        "seeds": [one and one.n for one in main],
        "published": [_printed(line, board.measure) for line in board.lines],
        "difference": [verdict(line, board.measure) or None for line in board.lines],
        **_others(board),
        "params_m": [_millions(line, "params") for line in board.lines],
        "published_m": [line.published and line.published.params_m for line in board.lines],
        "madds_m": [_millions(line, "madds") for line in board.lines],
        "p50_ms": [latency and latency.p50_ms for latency in latencies],
        "ratio": [latency and latency.ratio for latency in latencies],
        "runs": [[str(run) for run in line.runs] for line in board.lines],
    }
    return {
        name: values
        for name, values in columns.items()
        if any(value is not None for value in values)
    }


def _others(board: Board) -> Columns:
    """Return the scores beside the one that ranks, measured and published."""
    found: Columns = {}
    for one in other_measures(board):
        measured = (_estimate(line, one) for line in board.lines)
        found[one.name] = [estimate and estimate.mean for estimate in measured]
        found[f"published_{one.name}"] = [_printed(line, one) for line in board.lines]
    return found


def _estimate(line: Line, measure: Measure) -> Estimate | None:
    return line.measured.estimate(measure) if line.measured else None


def _printed(line: Line, measure: Measure) -> float | None:
    return measure.printed(line.published) if line.published else None


def _millions(line: Line, what: Literal["params", "madds"]) -> float | None:
    count: int | None = getattr(line.measured, what, None)
    return count / _MILLION if count else None
