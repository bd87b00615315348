"""How well each category is found, as a table and as dots, beside another run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

from convoy.records import Run
from dashboard import palette
from dashboard.rows import Columns

_ROW_PX, _HEAD_PX = 35, 36
"""Of a table."""
_DOT_PX, _AROUND_PX, _LEAST_PX = 17, 84, 220
"""Of the plot: height of a category, of title and axis, and the least in all."""
_CONFIG = {"displaylogo": False, "displayModeBar": "hover"}
_NAMES = {
    "mask_ap_pct": "Mask AP",
    "mask_ap50_pct": "Mask AP50",
    "box_ap_pct": "Box AP",
    "box_ap50_pct": "Box AP50",
}


@dataclass(frozen=True)
class Line:
    """One category.

    Attributes:
        row: As the run's result has it.
        value: What it is ranked by, in percent; None where it has no objects.
        beside: The same of the other run.
    """

    row: Mapping[str, Any]
    value: float | None
    beside: float | None = None

    @property
    def difference(self) -> float | None:
        """By how much the run is better than the other one, in points."""
        if self.value is None or self.beside is None:
            return None
        return self.value - self.beside


def draw(run: Run, other: Run | None) -> None:
    """Draw the table and the dots.

    Args:
        run: One with a result.
        other: One that was scored on the same images, or None.
    """
    own, theirs = _rows(run), _rows(other)
    if not own:
        return
    measure = (
        "mask_ap_pct" if _has_masks(own) and (_has_masks(theirs) or not other) else "box_ap_pct"
    )
    lines = rank(own, theirs, measure=measure)
    st.subheader("Categories", anchor=False)
    if other:
        st.caption(summary(lines, measure=measure, runs=(run.id, other.id)))
    left, right = st.columns([3, 2], gap="medium")
    shown = [line for line in lines if line.value is not None]
    high = max(_DOT_PX * len(shown) + _AROUND_PX, _LEAST_PX)
    with left:
        st.dataframe(
            table(lines, compared=other is not None),
            hide_index=True,
            height=min(high, _ROW_PX * len(lines) + _HEAD_PX),
            placeholder="",
            column_config=_columns(_NAMES[measure], other),
            key=f"categories_table_{run.id}",
            alt="Scores by category",
        )
    if shown:
        right.plotly_chart(
            figure(shown, title=_NAMES[measure], runs=(run.id, other.id if other else None)),
            height=high,
            key=f"categories_dots_{run.id}",
            config=_CONFIG,
            alt=f"{_NAMES[measure]} by category",
        )


def _rows(run: Run | None) -> Sequence[Mapping[str, Any]]:
    rows: Sequence[Mapping[str, Any]] = (run.result or {}).get("rows", ()) if run else ()
    return rows


def _has_masks(rows: Sequence[Mapping[str, Any]]) -> bool:
    return any(row.get("mask_ap_pct") is not None for row in rows)


def rank(
    own: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]], *, measure: str
) -> list[Line]:
    """Return the categories, the best found first, those without objects last.

    Args:
        own: Rows of the run.
        theirs: Rows of the other one, or none.
        measure: What is compared, such as ``mask_ap_pct``.
    """
    beside = {row["category"]: row.get(measure) for row in theirs}
    lines = [Line(row, row.get(measure), beside.get(row["category"])) for row in own]
    return sorted(lines, key=lambda line: -1.0 if line.value is None else line.value, reverse=True)


def summary(lines: Sequence[Line], *, measure: str, runs: tuple[int, int]) -> str:
    """Say in a line how two runs compare over the categories."""
    differences = [line.difference for line in lines if line.difference is not None]
    if not differences:
        return f"Runs {runs[0]} and {runs[1]} share no category with a score."
    better = sum(difference > 0 for difference in differences)
    worse = sum(difference < 0 for difference in differences)
    mean = sum(differences) / len(differences)
    return (
        f"Run {runs[0]} has a higher {_NAMES[measure]} than run {runs[1]} in {better} of "
        f"{len(differences)} categories and a lower one in {worse}; the mean difference is "
        f"{mean:+.2f}. A category of few objects changes much from run to run."
    )


def table(lines: Sequence[Line], *, compared: bool) -> Columns:
    """Return the table by columns, without those that nothing is known for."""
    columns: Columns = {
        name: [line.row.get(name) for line in lines] for name in ("category", "objects", "images")
    }
    columns["value"] = [line.value for line in lines]
    if compared:
        columns["beside"] = [line.beside for line in lines]
        columns["difference"] = [line.difference for line in lines]
    for name in _NAMES:
        columns[name] = [line.row.get(name) for line in lines]
    return {
        name: values
        for name, values in columns.items()
        if any(value is not None for value in values) and not _repeats(name, columns)
    }


def _repeats(name: str, columns: Columns) -> bool:
    """Return whether a column is the one that the categories are ranked by, once more."""
    return name in _NAMES and columns[name] == columns["value"]


def _columns(measure: str, other: Run | None) -> dict[str, ColumnConfig]:
    number = st.column_config.NumberColumn
    return {
        "category": st.column_config.TextColumn("Category", width=130),
        "objects": number("Objects", format="%,d", width=72, help="Crowds apart."),
        "images": number("Images", format="%,d", width=72, help="With at least one object."),
        "value": number(measure, format="%.1f", width=84),
        "beside": number(f"Run {other.id}" if other else "", format="%.1f", width=84),
        "difference": number("Difference", format="%+.1f", width=84),
        **{name: number(title, format="%.1f", width=84) for name, title in _NAMES.items()},
    }


def figure(lines: Sequence[Line], *, title: str, runs: tuple[int, int | None]) -> go.Figure:
    """Draw a dot for each category and, where another run is compared, one for it.

    Args:
        lines: With a value, the best first.
        title: What is drawn, with its unit left out.
        runs: Number of the run, and of the other one if there is one.
    """
    names = [str(line.row["category"]) for line in lines]
    starts = [0.0 if runs[1] is None else line.beside for line in lines]
    drawing = go.Figure()
    drawing.add_scatter(
        x=[x for line, start in zip(lines, starts, strict=True) for x in (start, line.value, None)],
        y=[y for name in names for y in (name, name, None)],
        mode="lines",
        line={"color": palette.NEUTRAL, "width": 1},
        hoverinfo="skip",
        showlegend=False,
    )
    if runs[1] is not None:
        _dots(drawing, names, starts, name=f"run {runs[1]}", colour=palette.NEUTRAL)
    values = [line.value for line in lines]
    _dots(drawing, names, values, name=f"run {runs[0]}", colour=palette.WHEEL[0])
    drawing.update_layout(
        margin={"l": 8, "r": 8, "t": 34, "b": 44},
        showlegend=runs[1] is not None,
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom"},
        hovermode="closest",
    )
    drawing.update_xaxes(title={"text": f"{title} (%)", "standoff": 6}, rangemode="tozero")
    drawing.update_yaxes(
        categoryorder="array",
        categoryarray=names,
        range=[len(names) - 0.5, -0.5],
        automargin=True,
        dtick=1,
        showgrid=False,
        tickfont={"size": 11},
    )
    return drawing


def _dots(
    drawing: go.Figure,
    names: Sequence[str],
    values: Sequence[float | None],
    *,
    name: str,
    colour: str,
) -> None:
    drawing.add_scatter(
        x=list(values),
        y=list(names),
        name=name,
        mode="markers",
        marker={"color": colour, "size": 8},
        cliponaxis=False,
        hovertemplate="%{y}: %{x:.1f} %<extra>" + name + "</extra>",
    )
