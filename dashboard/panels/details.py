"""The lower part of a run's page: result, attempts and history, spec, code and files."""

from __future__ import annotations

import json

import streamlit as st

from convoy.leaderboard.rows import BENCHMARK
from convoy.records import Run
from dashboard import formats, repeat
from dashboard.queries import Record

_WIDTHS = {
    "At": st.column_config.Column(width=180),
    **{
        name: st.column_config.Column(width=90)
        for name in ("Attempt", "From", "To", "Phase", "Outcome", "Failure", "Node", "From step")
    },
}
_RATIO = f"%.2f{formats.TIMES}"


def draw(record: Record) -> None:
    """Draw it."""
    if record.run.result is not None:
        _result(record.run)
    else:
        _repeat(record.run)
    tabs = st.tabs(["Attempts and history", "Spec", "Code and environment", "Files"])
    for tab, part in zip(tabs, (_attempts, _spec, _code, _files), strict=True):
        with tab:
            part(record)


def _result(run: Run) -> None:
    result = run.result or {}
    st.subheader("Result", anchor=False)
    if run.kind == BENCHMARK and result.get("rows"):
        _measurements(result["rows"])
    scores, facts = result.get("scores", {}), result.get("facts", {})
    left, right = st.columns([2, 3], gap="medium")
    with left:
        _pairs("Score", {formats.label(name): formats.value(name, scores[name]) for name in scores})
        _repeat(run)
    with right:
        _pairs("Fact", {formats.label(name): _fact(name, facts[name]) for name in facts})


def _pairs(title: str, pairs: dict[str, str]) -> None:
    table = {title: list(pairs), "Value": list(pairs.values())}
    st.dataframe(table, hide_index=True, height="content", alt=f"{title}s of the run")


def _fact(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return formats.value(name, value)
    return value if isinstance(value, str) else json.dumps(value)


def _measurements(rows: list[dict[str, object]]) -> None:
    names = ("device", "protocol", "p50_ms", "p90_ms", "p99_ms", "plain_p50_ms", "ratio")
    more = ("ratio_low", "ratio_high", "throughput_ips", "peak_memory_mib", "repeats", "settled")
    table = {name: [row.get(name) for row in rows] for name in (*names, *more)}
    number = st.column_config.NumberColumn
    st.dataframe(
        table,
        hide_index=True,
        height="content",
        placeholder="",
        alt="Measurements",
        column_config={
            "device": "Device",
            "protocol": "Protocol",
            "p50_ms": number("p50 (ms)", format="%.2f"),
            "p90_ms": number("p90 (ms)", format="%.2f"),
            "p99_ms": number("p99 (ms)", format="%.2f"),
            "plain_p50_ms": number("Plain p50 (ms)", format="%.2f"),
            "ratio": number("Ratio", format=_RATIO, help="To the plain network."),
            "ratio_low": number("from", format=_RATIO),
            "ratio_high": number("to", format=_RATIO),
            "throughput_ips": number("Images/s", format="%,.0f"),
            "peak_memory_mib": number("Peak (MiB)", format="%,.1f"),
            "repeats": number("Repeats", format="%d"),
            "settled": st.column_config.CheckboxColumn("Settled"),
        },
    )


def _attempts(record: Record) -> None:
    if not record.attempts:
        st.caption("No attempt yet.")
    else:
        st.dataframe(
            (
                {
                    "Attempt": [attempt.number for attempt in record.attempts],
                    "Phase": [attempt.phase.value for attempt in record.attempts],
                    "Outcome": [
                        attempt.outcome and attempt.outcome.value for attempt in record.attempts
                    ],
                    "Failure": [
                        attempt.failure and attempt.failure.value for attempt in record.attempts
                    ],
                    "Node": [attempt.node for attempt in record.attempts],
                    "From step": [attempt.resumed_step for attempt in record.attempts],
                    "Began": [formats.moment(attempt.began_at) for attempt in record.attempts],
                    "Ended": [formats.moment(attempt.ended_at) for attempt in record.attempts],
                    "Error": [attempt.error for attempt in record.attempts],
                }
            ),
            hide_index=True,
            height="content",
            placeholder="",
            alt="Attempts",
            column_config=_WIDTHS | {"Error": st.column_config.Column(width=330)},
        )
    _history(record)


def _history(record: Record) -> None:
    st.markdown("**History**")
    st.dataframe(
        (
            {
                "At": [formats.moment(move.at) for move in record.moves],
                "Attempt": [move.attempt or None for move in record.moves],
                "From": [move.source and move.source.value for move in record.moves],
                "To": [move.target and move.target.value for move in record.moves],
                "Why": [move.reason for move in record.moves],
            }
        ),
        hide_index=True,
        height="content",
        placeholder="",
        alt="History",
        column_config=_WIDTHS | {"Why": st.column_config.Column(width=700)},
    )


def _spec(record: Record) -> None:
    st.caption(f"Hash `{record.run.spec_hash}`; equal hash and code mean the same experiment.")
    st.code(repeat.spec_text(record.run), language="json")


def _code(record: Record) -> None:
    code = {name: value for name, value in record.run.code.items() if name != "diff"}
    st.markdown("**Code** at submission")
    st.code(json.dumps(code, indent=2) if code else "not recorded", language="json")
    if diff := record.run.code.get("diff"):
        st.markdown("**Changes** that were not committed")
        st.code(str(diff), language="diff", height=300)
    for attempt in record.attempts:
        if attempt.environment:
            st.markdown(f"**Environment** of attempt {attempt.number}")
            st.code(json.dumps(attempt.environment, indent=2), language="json")


def _files(record: Record) -> None:
    kept = [
        ("artifact", item.name, item.attempt, item.size_mib, item.path) for item in record.artifacts
    ]
    kept += [
        ("checkpoint", f"step {item.step:,}", item.attempt, item.size_mib, item.path)
        for item in record.checkpoints
    ]
    if not kept:
        st.caption("No files kept.")
        return
    st.dataframe(
        dict(
            zip(("Kind", "Name", "Attempt", "MiB", "Where"), zip(*kept, strict=True), strict=True)
        ),
        hide_index=True,
        height="content",
        column_config={"MiB": st.column_config.NumberColumn(format="%,.2f")},
        alt="Files",
    )


def _repeat(run: Run) -> None:
    st.markdown("**Repeat this run** with its spec, which holds the values of its recipe:")
    st.code(repeat.command(run), language="bash", wrap_lines=True)
