"""Runs as rows of a table: what each column says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from convoy.records import Run
from convoy.states import RunState
from dashboard import formats

Columns = dict[str, list[Any]]
"""A table by columns, as Streamlit takes it."""

_NOTE_LENGTH = 160


def table(runs: Sequence[Run], *, now: datetime) -> Columns:
    """Return one row a run, in the order given."""
    return {
        "id": [run.id for run in runs],
        "state": [[run.state.value] for run in runs],
        "what": [what(run) for run in runs],
        "kind": [run.kind for run in runs],
        "recipe": [run.recipe or None for run in runs],
        "progress": [progress(run) for run in runs],
        "time": [time_left(run, now=now) for run in runs],
        "note": [note(run) for run in runs],
        "owner": [run.owner for run in runs],
        "submitted": [formats.ago(run.created_at, now=now) for run in runs],
    }


def what(run: Run) -> str:
    """Say what a run is about: its name, its backbone, else its kind."""
    about = run.backbone or run.kind
    return f"{run.name}: {about}" if run.name else about


def progress(run: Run) -> float:
    """Return how far a run is, from 0 to 1."""
    if run.state is RunState.SUCCEEDED:
        return 1.0
    return round(min(run.step / run.total_steps, 1.0), 2) if run.total_steps else 0.0


def time_left(run: Run, *, now: datetime) -> str:
    """Say how long a run will still take, or how long it took."""
    if run.state is RunState.RUNNING:
        return f"{formats.span(run.eta_s)} left" if run.eta_s is not None else "…"
    if run.started_at is None:
        return ""
    if run.state.is_final:
        return f"took {formats.span(((run.ended_at or now) - run.started_at).total_seconds())}"
    return ""


def note(run: Run) -> str:
    """Say what matters of a run just now: its score, why it waits, what ended it."""
    match run.state:
        case RunState.QUEUED:
            text = waits(run)
        case RunState.RUNNING:
            text = run.status or (run.phase.value if run.phase else "")
        case RunState.SUCCEEDED:
            text = headline(run)
        case RunState.FAILED:
            cause = run.failure.value.replace("_", " ") if run.failure else "failed"
            text = f"{cause}: {_first_line(run.failure_text)}"
        case RunState.CANCELLED:
            text = f"cancelled by {run.cancel_reason}" if run.cancel_reason else ""
    return text if len(text) <= _NOTE_LENGTH else text[: _NOTE_LENGTH - 1] + "…"


def waits(run: Run) -> str:
    """Say why a queued run waits."""
    if run.waiting is None:
        return run.waiting_detail or "waits for its first look by a dispatcher"
    reason = run.waiting.value
    return f"{reason}: {run.waiting_detail}" if run.waiting_detail else reason


def headline(run: Run) -> str:
    """Return the one or two figures that a finished run is known for."""
    scores = (run.result or {}).get("scores", {})
    if "ratio" in scores and "p50_ms" in scores:
        p50, ratio = (
            formats.value("p50_ms", scores["p50_ms"]),
            formats.value("ratio", scores["ratio"]),
        )
        return f"{p50}, {ratio} plain"
    chosen = [name for name in ("top1_pct", "p50_ms") if name in scores] or list(scores)[:2]
    return " · ".join(
        f"{formats.label(name)} {formats.value(name, scores[name])}" for name in chosen
    )


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
