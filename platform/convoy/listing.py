"""A run in one line of plain text: how far it is, why it waits, what it scored."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from datetime import datetime

from convoy.durations import span_text
from convoy.leaderboard.measures import TASKS
from convoy.records import Run
from convoy.states import RunState

_SHOWN = [one for task in TASKS.values() for one in task.measures if one.shown == "everywhere"]
_SPEEDS = (("p50_ms", "p50 {:.2f} ms"), ("ratio", "{:.2f}x plain"))
_AFTER_EVIDENCE = ("Kept:", "Nothing was kept:", "Next:")  # of a failure's text
_LONGEST = 160  # characters of evidence


def progress_text(run: Run) -> str:
    """Return what matters in its state: share done and time left, why it waits, why it failed."""
    if run.state is RunState.QUEUED:
        if run.waiting is None:
            return "waits for a dispatcher to look at it"
        return f"{run.waiting}: {run.waiting_detail}" if run.waiting_detail else run.waiting.value
    if run.state is RunState.RUNNING:
        return _running_text(run)
    if run.state is RunState.FAILED:
        return _failed_text(run)
    if run.state is RunState.CANCELLED:
        return f"by {run.cancel_reason}" if run.cancel_reason else ""
    if run.started_at and run.ended_at:
        return f"took {span_text((run.ended_at - run.started_at).total_seconds())}"
    return ""


def _failed_text(run: Run) -> str:
    """Return the class of a failure and its evidence; the class says the cause already."""
    lines = (run.failure_text or "").strip().splitlines()
    if not lines:
        return str(run.failure or "")
    evidence = next((line for line in lines[1:] if not line.startswith(_AFTER_EVIDENCE)), lines[0])
    return f"{run.failure or 'failed'}: {textwrap.shorten(evidence, _LONGEST, placeholder=' ...')}"


def share_text(run: Run) -> str:
    """Return ``42 %``, or nothing before the first step."""
    return f"{100 * run.step / run.total_steps:.0f} %" if run.total_steps else ""


def score_text(run: Run) -> str:
    """Return the score of a finished run, or the last values of a running one."""
    if run.result:
        scores = run.result.get("scores") or {}
        found = [
            f"{one.word} {one.text(scores[one.score])} {one.unit}"
            for one in _SHOWN
            if one.score in scores
        ]
        found += [form.format(scores[name]) for name, form in _SPEEDS if name in scores]
        return ", ".join(found)
    return ", ".join(_live_texts(run.last))


def _live_texts(last: Mapping[str, float]) -> Iterator[str]:
    """Yield the validation score and the loss as they are now."""
    for one in _SHOWN:
        if (name := f"val_{one.score}") in last:
            yield f"val {last[name]:.1f} {one.unit}"
            break  # the one that ranks comes first
    if "train_loss" in last:
        yield f"loss {last['train_loss']:.3f}"


def age_text(run: Run, *, now: datetime) -> str:
    """Return how long ago a run was submitted."""
    return span_text((now - run.created_at).total_seconds())


def duration_text(run: Run, *, now: datetime) -> str:
    """Return how long a run has been at it, or took."""
    if run.started_at is None:
        return ""
    return span_text(((run.ended_at or now) - run.started_at).total_seconds())


def _running_text(run: Run) -> str:
    if run.cancel_reason:
        return f"asked to stop ({run.cancel_reason})"
    parts = [share_text(run)]
    if run.eta_s is not None and run.total_steps:
        parts.append(f"{span_text(run.eta_s)} left")
    if not any(parts):
        parts.append(str(run.phase or "starting"))
    if run.status:
        parts.append(run.status)
    return ", ".join(part for part in parts if part)
