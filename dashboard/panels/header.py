"""The head of a run's page: what it is, where it stands, how to repeat it."""

from __future__ import annotations

import streamlit as st

from convoy.leaderboard.measures import task_of
from convoy.listing import progress_text
from convoy.records import Run
from convoy.states import RunState
from dashboard import formats, palette, rows
from dashboard.queries import Record


def draw(record: Record) -> None:
    """Draw it."""
    run = record.run
    st.title(f"Run {run.id}", anchor=False)
    _chips(run)
    _progress(run)
    if run.state is RunState.FAILED:
        text = formats.literal(run.failure_text) or "It failed without a word."
        st.error(text, icon=":material/error:")
    elif run.state is RunState.QUEUED:
        st.info(formats.literal(progress_text(run)), icon=":material/hourglass_top:")
    _figures(record)


def _chips(run: Run) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(run.state.value, color=palette.STATES[run.state])
        st.markdown(f"**{formats.literal(rows.what(run))}**")
        about = [run.kind, run.data, run.recipe, run.study and f"study {run.study}"]
        st.caption(formats.literal(" · ".join(filter(None, [*about, f"by {run.owner}"]))))


def _progress(run: Run) -> None:
    if run.state is RunState.QUEUED and not run.step:
        return
    parts = [f"step {run.step:,} of {run.total_steps:,}" if run.total_steps else ""]
    if run.epoch:
        parts.append(f"epoch {run.epoch}")
    if run.state is RunState.RUNNING:
        parts.append(rows.activity(run))
    text = " · ".join(filter(None, parts))
    if run.state is RunState.SUCCEEDED:
        st.caption(text)
    else:
        st.progress(rows.progress(run), text=formats.literal(text) or run.state.value)


def _figures(record: Record) -> None:
    run = record.run
    figures = {"Attempt": str(run.attempt) if run.attempt else "none yet"}
    if run.state is RunState.RUNNING:
        figures["Time left"] = formats.span(run.eta_s) if run.eta_s is not None else "…"
    if run.started_at is not None:
        end = run.ended_at or record.now
        name = "Took" if run.state.is_final else "Since start"
        figures[name] = formats.span((end - run.started_at).total_seconds())
    figures |= _scores(run)
    for column, (name, text) in zip(st.columns(len(figures)), figures.items(), strict=True):
        column.metric(name, text, border=True)


def _scores(run: Run) -> dict[str, str]:
    """Return the figures that everyone looks for, the latest ones while a run goes on."""
    if run.result is not None:
        scores = {**run.result.get("scores", {}), **run.result.get("facts", {})}
        names = [*_main_scores(run), "val_loss", "p50_ms", "ratio", "params", "madds"]
    else:
        scores = dict(run.last)
        names = [*(f"val_{name}" for name in _main_scores(run)), "train_loss", "images_per_s"]
    return {
        formats.label(name): formats.value(name, scores[name])
        for name in names
        if isinstance(scores.get(name), int | float)
    }


def _main_scores(run: Run) -> list[str]:
    """Return what runs of a kind are first asked for."""
    return [one.score for one in task_of(run.kind).measures if one.shown == "everywhere"]
