"""A study's table as the page shows it: measured beside published, in columns."""

from __future__ import annotations

from typing import Literal

from convoy.leaderboard import exports
from convoy.leaderboard.intervals import Estimate
from convoy.leaderboard.study import Board, Line, state_text, verdict
from dashboard.rows import Columns

_MILLION = 1e6


def table(board: Board) -> Columns:
    """Return every row of a study, without columns that nothing is known for."""
    pair = exports.main_protocol(board.group) if board.group else None
    latencies = [
        exports.latency_of(line.measured, pair) if line.measured else None for line in board.lines
    ]
    top1 = [_top1(line) for line in board.lines]
    columns: Columns = {
        "rank": [line.measured and line.measured.rank for line in board.lines],
        "backbone": [line.row.backbone for line in board.lines],
        "state": [state_text(line) for line in board.lines],
        "top1": [estimate and estimate.mean for estimate in top1],
        "spread": [estimate and estimate.half_width for estimate in top1],
        "seeds": [estimate and estimate.n for estimate in top1],
        "published_pct": [line.published and line.published.top1_pct for line in board.lines],
        "difference": [verdict(line) or None for line in board.lines],
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


def _top1(line: Line) -> Estimate | None:
    accuracy = line.measured.accuracy if line.measured else None
    return accuracy.estimates["top1"] if accuracy else None


def _millions(line: Line, what: Literal["params", "madds"]) -> float | None:
    count: int | None = getattr(line.measured, what, None)
    return count / _MILLION if count else None
