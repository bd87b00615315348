"""The curves of a run, two or three plots to a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from convoy.records import Point
from dashboard import curves
from dashboard.queries import Record

_MOST_COLUMNS = 3
_CONFIG = {"displaylogo": False, "displayModeBar": "hover"}


def draw(record: Record, series: Mapping[str, Sequence[Point]]) -> None:
    """Draw them; a run that has told nothing yet says so."""
    panels = curves.panels([name for name, points in series.items() if points])
    if not panels:
        if not record.run.state.is_final:
            st.caption("Curves appear with the first step.")
        return
    st.subheader("Curves", anchor=False)
    marks = curves.resumptions(record.attempts)
    width = _columns(len(panels))
    for start in range(0, len(panels), width):
        line = panels[start : start + width]
        for column, panel in zip(st.columns(width, gap="medium"), line, strict=False):
            column.plotly_chart(
                curves.figure(panel, series, marks=marks),
                key=f"curve_{panel.names[0]}",
                config=_CONFIG,
                alt=f"{panel.title} by step",
            )


def _columns(count: int) -> int:
    """Return how many plots make a line, so that the last line is full where that is possible."""
    if count <= _MOST_COLUMNS:
        return count
    return 2 if count == 4 else _MOST_COLUMNS
