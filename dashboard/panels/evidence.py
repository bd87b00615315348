"""What stands behind one row of the leaderboard: its runs, latencies and published values."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from convoy.leaderboard.exports import ratio_text, score_text
from convoy.leaderboard.measures import Measure
from convoy.leaderboard.rows import Row
from dashboard import formats


def draw(row: Row, measures: Sequence[Measure], *, by: Measure | None) -> None:
    """Draw it in a frame of its own.

    Args:
        row: Which.
        measures: What it may have been scored in.
        by: The one that ranks.
    """
    with st.container(border=True):
        st.markdown(f"#### `{row.backbone}`")
        _counts(row, measures)
        _runs(row)
        _latencies(row)
        if by is not None:
            others = [one for one in measures if one.shown == "everywhere" and one != by]
            _published(row, by, others)


def _counts(row: Row, measures: Sequence[Measure]) -> None:
    parts = [
        f"{one.word} {score_text(estimate, one)} {one.unit}"
        for one in measures
        if (estimate := row.estimate(one))
    ]
    if row.accuracy and row.accuracy.best_pct is not None:
        first = measures[0]
        parts.append(
            f"{first.word} of the best epoch {first.text(row.accuracy.best_pct)} "
            f"{first.unit} (never ranked)"
        )
    parts += [f"{row.params:,} parameters"] if row.params else []
    parts += [f"{row.madds:,} multiply-adds"] if row.madds else []
    parts += [f"{row.madds_assembly:,} of them weight assembly"] if row.madds_assembly else []
    st.caption(" · ".join(parts))


def _runs(row: Row) -> None:
    links = [(run, f"Run {run} (seed {seed})") for seed, run in _seeds(row)]
    links += [
        (run, f"Run {run} (latency)") for run in sorted({latency.run for latency in row.latency})
    ]
    with st.container(horizontal=True):
        for run, text in links:
            st.page_link(
                "views/run.py",
                label=text,
                icon=":material/show_chart:",
                query_params={"run": str(run)},
            )


def _seeds(row: Row) -> list[tuple[int, int]]:
    return list(row.accuracy.runs.items()) if row.accuracy else []


def _latencies(row: Row) -> None:
    if not row.latency:
        return
    st.dataframe(
        (
            {
                "Device": [latency.device for latency in row.latency],
                "Protocol": [latency.protocol for latency in row.latency],
                "p50 (ms)": [formats.milliseconds(latency.p50_ms) for latency in row.latency],
                "Ratio to plain [95 %]": [ratio_text(latency) for latency in row.latency],
                "Settled": [latency.settled for latency in row.latency],
                "Run": [latency.run for latency in row.latency],
            }
        ),
        hide_index=True,
        height="content",
        alt=f"Latencies of {row.backbone}",
    )


def _published(row: Row, measure: Measure, others: Sequence[Measure]) -> None:
    if not row.published:
        return
    compared = [beside.compared.get(measure.name) for beside in row.published]
    st.dataframe(
        (
            {
                "Published in": [beside.row.source for beside in row.published],
                "Data set": [beside.row.dataset for beside in row.published],
                measure.heading: [measure.printed(beside.row) for beside in row.published],
                "Ours minus theirs": [one and one.difference for one in compared],
                **{
                    one.heading: [one.printed(beside.row) for beside in row.published]
                    for one in others
                },
                "Params (M)": [beside.row.params_m for beside in row.published],
                "MAdds (M)": [beside.row.madds_m for beside in row.published],
                "Known to differ": ["; ".join(beside.differences) for beside in row.published],
            }
        ),
        hide_index=True,
        height="content",
        placeholder="",
        alt=f"Published values of {row.backbone}",
        column_config={
            "Ours minus theirs": st.column_config.NumberColumn(format=f"%+.{measure.digits}f"),
            **{
                one.heading: st.column_config.NumberColumn(format=f"%.{one.digits}f")
                for one in (measure, *others)
            },
        },
    )
