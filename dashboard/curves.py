"""Curves of one run: loss, scores, learning rate, with the attempts marked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import plotly.graph_objects as go

from convoy.leaderboard.measures import DETECT
from convoy.records import Attempt, Point
from dashboard import formats, palette

MOST_POINTS = 2000
"""Points drawn of a series; a plot is about that many pixels wide."""

_SMOOTH_FROM = 40
_SAID_ABOVE = re.compile("^(Validation (mask|box) |Loss )")
"""What the title of a plot says already."""
_HEIGHT_PX = 290


@dataclass(frozen=True)
class Panel:
    """A plot that holds series of one unit.

    Attributes:
        title: With the unit.
        names: Series in it, in the order of the legend.
    """

    title: str
    names: tuple[str, ...]


def panels(names: Sequence[str]) -> list[Panel]:
    """Sort series into plots: loss, scores, learning rate, then every other one by itself."""
    losses = tuple(name for name in names if name.endswith("loss") or name.startswith("loss_"))
    percents = tuple(name for name in names if name.endswith("_pct"))
    precisions = _precisions(names)
    drawn = {name for panel in precisions for name in panel.names}
    accuracies = tuple(name for name in percents if name not in drawn)
    found = [Panel("Loss", losses), Panel("Accuracy (%)", accuracies), *precisions]
    rest = [name for name in names if name not in {*losses, *percents}]
    rest.sort(key=lambda name: (name != "lr", name))
    found += [Panel(formats.label(name), (name,)) for name in rest]
    return [panel for panel in found if panel.names]


def _precisions(names: Sequence[str]) -> list[Panel]:
    """Give the average precision of masks and that of boxes a plot each."""
    found = []
    for what in ("mask", "box"):
        scores = [f"val_{one.score}" for one in DETECT.measures if one.name.startswith(what)]
        found.append(Panel(f"{what.capitalize()} AP (%)", tuple(n for n in scores if n in names)))
    return found


def thin(points: Sequence[Point], *, most: int = MOST_POINTS) -> list[Point]:
    """Leave out points that a plot could not show, but no peak and no trough.

    Args:
        points: In order of step.
        most: How many may stay, at least 2.
    """
    if len(points) <= most:
        return list(points)
    size = -(-len(points) // (most // 2))
    kept: list[Point] = []
    for start in range(0, len(points), size):
        bucket = points[start : start + size]
        ends = {bucket.index(pick(bucket, key=lambda point: point.value)) for pick in (min, max)}
        kept += [bucket[index] for index in sorted(ends)]
    return kept


def smooth(values: Sequence[float]) -> list[float]:
    """Return the mean around each value, over a fortieth of them: it neither leads nor lags."""
    reach = max(len(values) // 80, 1)
    total = [0.0, *accumulate(values)]
    result = []
    for index in range(len(values)):
        near = min(reach, index, len(values) - 1 - index)
        start, end = index - near, index + near + 1
        result.append((total[end] - total[start]) / (end - start))
    return result


def resumptions(attempts: Sequence[Attempt]) -> list[tuple[int, str]]:
    """Return where each attempt after the first took up the work: (step, label)."""
    return [
        (attempt.resumed_step or 0, f"attempt {attempt.number}")
        for attempt in attempts
        if attempt.number > 1 and attempt.began_at is not None
    ]


def figure(
    panel: Panel, series: Mapping[str, Sequence[Point]], *, marks: Sequence[tuple[int, str]]
) -> go.Figure:
    """Draw one plot.

    Args:
        panel: What goes in.
        series: Points by name; a name of the panel may be missing.
        marks: Vertical lines: (step, label).
    """
    drawing = go.Figure()
    # boxes as masks, so that both plots say the same by a colour
    twins = {name: name.replace("_box_", "_mask_") for name in panel.names}
    colours = palette.of_series(twins.values())
    for name, twin in twins.items():
        _draw(drawing, name, points=thin(series.get(name, ())), colour=colours[twin])
    for step, text in marks:
        drawing.add_vline(
            x=step,
            line={"dash": "dot", "width": 1, "color": palette.NEUTRAL},
            annotation={
                "text": text,
                "font": {"size": 11, "color": palette.NEUTRAL},
                "xanchor": "left",
                "yanchor": "bottom",
                "yshift": -14,
            },
        )
    drawing.update_layout(
        title={"text": panel.title, "font": {"size": 15}, "x": 0, "y": 0.97, "yanchor": "top"},
        height=_HEIGHT_PX,
        margin={"l": 8, "r": 8, "t": 38, "b": 8},
        showlegend=len(panel.names) > 1,
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
        hovermode="x unified",
        uirevision=panel.title,
    )
    last = max((points[-1].step for points in series.values() if points), default=1)
    drawing.update_xaxes(title={"text": "step", "standoff": 4}, range=[0, last * 1.02])
    drawing.update_yaxes(automargin=True)
    return drawing


def _draw(drawing: go.Figure, name: str, *, points: Sequence[Point], colour: str) -> None:
    steps = [point.step for point in points]
    values = [point.value for point in points]
    title = _SAID_ABOVE.sub("", formats.label(name))
    noisy = len(points) >= _SMOOTH_FROM and name.startswith(("train_", "loss_"))
    drawing.add_scatter(
        x=steps,
        y=values,
        name=title,
        mode="lines" if len(points) > _SMOOTH_FROM else "lines+markers",
        line={"color": colour, "width": 1 if noisy else 2},
        marker={"size": 5},
        opacity=0.3 if noisy else 1,
        showlegend=not noisy,
        hovertemplate="%{y:.5g}",
    )
    if noisy:
        drawing.add_scatter(
            x=steps,
            y=smooth(values),
            name=title,
            mode="lines",
            line={"color": colour, "width": 2},
            hoverinfo="skip",
        )
