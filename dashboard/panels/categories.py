"""How well each category is found, as a table and as dots, beside another run."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

from convoy.categories import TITLES, Comparison, Line, compare
from convoy.errors import ConvoyError
from convoy.records import Run
from dashboard import palette
from dashboard.formats import literal
from dashboard.rows import Columns

_ROW_PX, _HEAD_PX, _TABLE_PX = 35, 36, 600
"""Of the table: height of a row, of the heading, and what it may take however low the plot is."""
_DOT_PX, _AROUND_PX, _LEAST_PX = 17, 84, 220
"""Of the plot: height of a category, of title and axis, and the least in all."""
_CONFIG = {"displaylogo": False, "displayModeBar": "hover"}


def draw(run: Run, other: Run | None) -> None:
    """Draw the table and the dots.

    Args:
        run: One with a result.
        other: Another one of its kind, or None.
    """
    st.subheader("Categories", anchor=False)
    try:
        compared = compare(run, other)
    except ConvoyError as error:
        st.caption(literal(str(error)))
        return
    if text := compared.summary():
        st.caption(text)
    left, right = st.columns([3, 2], gap="medium")
    high = max(_DOT_PX * len(_drawn(compared)) + _AROUND_PX, _LEAST_PX)
    with left:
        st.dataframe(
            table(compared),
            hide_index=True,
            height=min(_ROW_PX * len(compared.lines) + _HEAD_PX, max(high, _TABLE_PX)),
            placeholder="",
            column_config=_columns(compared),
            key=f"categories_table_{run.id}",
            alt="Scores by category",
        )
    if _drawn(compared):
        right.plotly_chart(
            figure(compared),
            height=high,
            key=f"categories_dots_{run.id}",
            config=_CONFIG,
            alt=f"{compared.title} by category",
        )


def _drawn(compared: Comparison) -> list[Line]:
    """Return the categories with a score."""
    return [line for line in compared.lines if line.value is not None]


def table(compared: Comparison) -> Columns:
    """Return the table by columns, without those that nothing is known for."""
    lines = compared.lines
    columns: Columns = {
        name: [line.row.get(name) for line in lines] for name in ("category", "objects", "images")
    }
    columns["value"] = [line.value for line in lines]
    if compared.other is not None:
        columns["beside"] = [line.beside for line in lines]
        columns["difference"] = [line.difference for line in lines]
    for name in TITLES:
        if name != compared.measure:
            columns[name] = [line.row.get(name) for line in lines]
    return {
        name: values
        for name, values in columns.items()
        if any(value is not None for value in values)
    }


def _columns(compared: Comparison) -> dict[str, ColumnConfig]:
    number = st.column_config.NumberColumn
    return {
        "category": st.column_config.TextColumn("Category", width=120),
        "objects": number("Objects", format="%,d", width=66, help="Crowds apart."),
        "images": number("Images", format="%,d", width=66, help="With at least one object."),
        "value": number(compared.title, format="%.1f", width=78),
        "beside": number(f"Run {compared.other}", format="%.1f", width=78),
        "difference": number("Difference", format="%+.1f", width=78),
        **{name: number(title, format="%.1f", width=78) for name, title in TITLES.items()},
    }


def figure(compared: Comparison) -> go.Figure:
    """Draw a dot for each category with a score and, beside another run, one for that run."""
    lines, other = _drawn(compared), compared.other
    names = [str(line.row["category"]) for line in lines]
    starts = [0.0 if other is None else line.beside for line in lines]
    drawing = go.Figure()
    drawing.add_scatter(
        x=[x for line, start in zip(lines, starts, strict=True) for x in (start, line.value, None)],
        y=[y for name in names for y in (name, name, None)],
        mode="lines",
        line={"color": palette.NEUTRAL, "width": 1},
        hoverinfo="skip",
        showlegend=False,
    )
    if other is not None:
        _dots(drawing, names, starts, name=f"run {other}", colour=palette.NEUTRAL)
    values = [line.value for line in lines]
    _dots(drawing, names, values, name=f"run {compared.run}", colour=palette.WHEEL[0])
    drawing.update_layout(
        margin={"l": 8, "r": 8, "t": 34, "b": 44},
        showlegend=other is not None,
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom"},
        hovermode="closest",
    )
    drawing.update_xaxes(title={"text": f"{compared.title} (%)", "standoff": 6}, rangemode="tozero")
    drawing.update_yaxes(
        type="category",  # else names such as 0 and 1 are taken for numbers
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
