"""Heat maps of attentions: rows by columns, coloured around neutral, with the layers marked."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from backbones.attention_map import Axis, Map
from dashboard import palette

_ROW_PX = 6
_LEAST_PX, _MOST_PX = 240, 700
_AROUND_PX = 76
"""Height that titles and the lower axis take."""
_LABEL_PX = 14
"""Least distance between two labels of the left axis."""
_TICKS = 8


def figure(maps: Sequence[Map]) -> go.Figure:
    """Draw maps of one group side by side.

    Args:
        maps: Of the same rows.
    """
    drawing = make_subplots(
        rows=1,
        cols=len(maps),
        shared_yaxes=True,
        horizontal_spacing=0.1,
        subplot_titles=[", ".join(filter(None, (one.title, one.note))) for one in maps],
    )
    for number, one in enumerate(maps, start=1):
        drawing.add_trace(_trace(one), row=1, col=number)
        drawing.update_xaxes(**_ticks(one.columns), row=1, col=number)
    rows = maps[0].rows
    rows_px = _length_px(rows)
    drawing.update_yaxes(autorange="reversed", showgrid=False, **_layers(rows, length_px=rows_px))
    drawing.update_yaxes(title={"text": rows.label}, row=1, col=1)
    for trace, axis in zip(drawing.data, drawing.select_xaxes(), strict=True):
        trace.colorbar.update(x=axis.domain[1], xpad=6, thickness=10)
    # all at once: adding lines one by one takes time that grows with their number squared
    lines = [line for number, one in enumerate(maps, start=1) for line in _lines(one, number)]
    drawing.update_layout(
        shapes=lines,
        height=rows_px + _AROUND_PX,
        margin={"l": 8, "r": 8, "t": 24, "b": 52},
    )
    drawing.update_xaxes(showgrid=False, automargin=False)
    drawing.update_annotations(font={"size": 14})
    return drawing


def _length_px(rows: Axis) -> int:
    """Return the height of the matrices: each section has room for its label, up to a limit."""
    bounds = _bounds(rows)
    wanted = max(_ROW_PX * bounds[-1], _LABEL_PX * (len(bounds) - 1), _LEAST_PX)
    return min(wanted, _MOST_PX)


def _trace(one: Map) -> go.Heatmap:
    most = float(np.abs(one.values - one.neutral).max()) or 1.0
    value = "%{z:.4f}" if one.spread is None else "%{z:.4f} ± %{customdata:.4f} over the images"
    return go.Heatmap(
        z=one.values,
        x=_names(one.columns),
        y=_names(one.rows),
        customdata=one.spread,
        zmin=one.neutral - most,
        zmax=one.neutral + most,
        colorscale=palette.AROUND_NOUGHT,
        hovertemplate=f"{value}<br>%{{y}}<br>%{{x}}<extra>{one.title}</extra>",
    )


def _names(axis: Axis) -> list[str]:
    """Name every row or column; a section of one is named alone."""
    names: list[str] = []
    for section in axis.sections:
        for _ in range(section.length):
            place = f"{axis.label} {len(names)}"
            names.append(f"{place} of {section.name}" if section.name else place)
    return names


def _bounds(axis: Axis) -> list[int]:
    """Return where sections begin and end, from 0."""
    return [0, *accumulate(section.length for section in axis.sections)]


def _lines(one: Map, column: int) -> list[dict[str, object]]:
    """Return a line between each two sections of both axes."""
    number = "" if column == 1 else str(column)
    line = {"type": "line", "line": {"color": palette.NEUTRAL, "width": 0.6}}
    across = {**line, "xref": f"x{number} domain", "x0": 0, "x1": 1, "yref": f"y{number}"}
    down = {**line, "yref": f"y{number} domain", "y0": 0, "y1": 1, "xref": f"x{number}"}
    return [
        *({**across, "y0": at, "y1": at} for at in _between(one.rows)),
        *({**down, "x0": at, "x1": at} for at in _between(one.columns)),
    ]


def _between(axis: Axis) -> list[float]:
    return [bound - 0.5 for bound in _bounds(axis)[1:-1]]


def _ticks(axis: Axis) -> dict[str, object]:
    """Number the columns at a round distance."""
    ticks = round_ticks(_bounds(axis)[-1])
    return {**ticks, "title": {"text": axis.label, "standoff": 8}}


def round_ticks(count: int, *, each: int = 1) -> dict[str, object]:
    """Return ticks at round numbers from 0 to `count`, for cells that hold `each` of them."""
    numbers = list(range(0, count, _round_step(count)))
    return {
        "tickvals": [number // each for number in numbers],
        "ticktext": list(map(str, numbers)),
    }


def _round_step(count: int) -> int:
    """Return the distance of ticks: 1, 2 or 5 times a power of ten, at most `_TICKS` of them."""
    least = max(-(-count // _TICKS), 1)
    power: int = 10 ** (len(str(least)) - 1)
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least)


def _layers(axis: Axis, *, length_px: float) -> dict[str, object]:
    """Label the middle of each section, as many as have room."""
    bounds = _bounds(axis)
    px = length_px / bounds[-1]
    places: list[float] = []
    names: list[str] = []
    for section, start in zip(axis.sections, bounds, strict=False):
        middle = start + (section.length - 1) / 2
        if not places or (middle - places[-1]) * px >= _LABEL_PX:
            places.append(middle)
            names.append(section.name)
    return {"tickvals": places, "ticktext": names}
