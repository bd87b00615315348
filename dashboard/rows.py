"""Runs as rows of a table: what each column says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from convoy.durations import span_text
from convoy.listing import age_text, duration_text, progress_text, score_text
from convoy.records import Run
from convoy.states import RunState

Columns = dict[str, list[Any]]
"""A table by columns, as Streamlit takes it."""

_NOTE_LENGTH = 160


def table(runs: Sequence[Run], *, now: datetime) -> Columns:
    """Return one row a run, in the order given."""
    return {
        "state": [[run.state.value] for run in runs],
        "id": [run.id for run in runs],
        "what": [what(run) for run in runs],
        "kind": [run.kind for run in runs],
        "recipe": [run.recipe or None for run in runs],
        "progress": [progress(run) for run in runs],
        "time": [time_text(run, now=now) for run in runs],
        "note": [note(run) for run in runs],
        "owner": [run.owner for run in runs],
        "submitted": [f"{age_text(run, now=now)} ago" for run in runs],
    }


def what(run: Run) -> str:
    """Say what a run is about: its name, its backbone, else its kind."""
    seed = run.spec.get("seed")
    about = (run.backbone or run.kind) + (f" seed {seed}" if seed else "")
    return f"{run.name}: {about}" if run.name else about


def progress(run: Run) -> float:
    """Return how far a run is, from 0 to 1."""
    if run.state is RunState.SUCCEEDED:
        return 1.0
    return round(min(run.step / run.total_steps, 1.0), 2) if run.total_steps else 0.0


def time_text(run: Run, *, now: datetime) -> str:
    """Say how long a run will still take, or how long it took."""
    if run.state is RunState.RUNNING:
        return "" if run.eta_s is None else f"{span_text(run.eta_s)} left"
    taken = duration_text(run, now=now)
    return f"took {taken}" if taken and run.state.is_final else ""


def note(run: Run) -> str:
    """Say what matters of a run just now: its score, why it waits, what ended it."""
    if run.state is RunState.RUNNING:
        text = activity(run)
    elif run.state is RunState.SUCCEEDED:
        text = score_text(run)
    else:
        text = progress_text(run)
    return text if len(text) <= _NOTE_LENGTH else text[: _NOTE_LENGTH - 1] + "…"


def activity(run: Run) -> str:
    """Say what a running run does just now."""
    if run.cancel_reason:
        return f"asked to stop ({run.cancel_reason})"
    return run.status or (run.phase.value if run.phase else "")
