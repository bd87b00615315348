"""The trade-off plot: a score against cost, with intervals and the Pareto front as a line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import plotly.graph_objects as go

from dashboard import palette

Position = Literal["top right", "bottom right", "top left", "bottom left"]
"""Never straight above or beside a spot: there run its interval and the Pareto front."""

_POSITIONS: tuple[Position, ...] = ("top right", "bottom right", "top left", "bottom left")
_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "star", "hexagon", "cross", "x")
_LOG_FROM = 8.0
_LEAST_SPAN = 0.1
"""Costs closer than this, relative to the larger, are drawn as the neighbours that they are."""

_HEIGHT_PX = 440
_PLOT_WIDTH_PX, _PLOT_HEIGHT_PX, _SPOT_PX = 1160.0, 325.0, 12.0
_CHARACTER_PX, _LINE_PX = 7.0, 16.0
_ASIDE_PX, _APART_PX = 8.0, 14.0


@dataclass(frozen=True)
class Spot:
    """A backbone in the plot.

    Attributes:
        label: What stands beside it: the method with its settings.
        network: Chooses the symbol.
        method: Chooses the colour.
        cost: Where it stands on the x axis, above 0.
        score: Where it stands on the y axis, in percent; more is better.
        low: Lower end of its 95 % interval; None when nothing is known about it.
        high: Upper end.
        hover: Lines that are shown under the pointer.
    """

    label: str
    network: str
    method: str
    cost: float
    score: float
    low: float | None = None
    high: float | None = None
    hover: str = ""

    @property
    def ends(self) -> tuple[float, float]:
        """The interval, or the bare value twice."""
        low = self.score if self.low is None else self.low
        return low, self.score if self.high is None else self.high


def front(spots: Sequence[Spot]) -> list[Spot]:
    """Return the spots that no other beats: none is at most as costly and scores at least as high.

    Returns:
        In order of cost, and so of score. Of equal spots the first stays.
    """
    best: list[Spot] = []
    for spot in sorted(spots, key=lambda spot: (spot.cost, -spot.score)):
        if not best or spot.score > best[-1].score:
            best.append(spot)
    return best


def figure(
    spots: Sequence[Spot], *, cost: str, score: str, colours: Mapping[str, str]
) -> go.Figure:
    """Draw the plot.

    Args:
        spots: At least one.
        cost: Title of the x axis, with its unit.
        score: Title of the y axis, with its unit.
        colours: Method to colour.
    """
    drawing = go.Figure()
    _draw_front(drawing, front(spots))
    networks = sorted({spot.network for spot in spots})
    logarithmic = is_logarithmic(spots)
    places = dict(zip(spots, label_places(spots, logarithmic=logarithmic), strict=True))
    for number, network in enumerate(networks):
        chosen = [spot for spot in spots if spot.network == network]
        symbol = _SYMBOLS[number % len(_SYMBOLS)]
        _draw_network(drawing, chosen, symbol=symbol, colours=colours, places=places)
        if len(networks) > 1:
            _explain_symbol(drawing, network, symbol=symbol)
    drawing.update_layout(
        height=_HEIGHT_PX,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.0, "yanchor": "bottom"},
        hovermode="closest",
    )
    drawing.update_xaxes(title=cost, range=_x_range(spots, logarithmic=logarithmic))
    if logarithmic:
        ticks = log_ticks(spots)
        drawing.update_xaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    drawing.update_yaxes(title=score, range=_y_range(spots), automargin=True)
    return drawing


def is_logarithmic(spots: Sequence[Spot]) -> bool:
    """Whether the costs span so much that only a logarithmic axis keeps them apart."""
    costs = [spot.cost for spot in spots]
    return max(costs) / min(costs) >= _LOG_FROM


def log_ticks(spots: Sequence[Spot]) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten that a logarithmic axis shows."""
    left, right = _x_range(spots, logarithmic=True)
    powers = range(math.floor(left), math.ceil(right) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return [tick for tick in ticks if left <= math.log10(tick) <= right]


def label_places(spots: Sequence[Spot], *, logarithmic: bool) -> list[Position]:
    """Choose a side for each label so that labels cover neither each other nor a spot.

    Greedy, in pixels of a plot of ordinary size: each takes the side on which it covers least.
    """
    boxes = _line(spots, logarithmic=logarithmic)
    for spot in spots:
        boxes += _drawn(spot, spots, logarithmic=logarithmic)
    places: list[Position] = []
    for spot in spots:
        x, y = _pixels(spot, spots, logarithmic=logarithmic)
        width = _CHARACTER_PX * len(spot.label)
        right, left = x + _ASIDE_PX + width / 2, x - _ASIDE_PX - width / 2
        above, below = y + _APART_PX, y - _APART_PX
        centres: Mapping[Position, tuple[float, float]] = {
            "top right": (right, above),
            "bottom right": (right, below),
            "top left": (left, above),
            "bottom left": (left, below),
        }
        options = {
            place: _box(centres[place], width=width, height=_LINE_PX) for place in _POSITIONS
        }
        chosen = min(_POSITIONS, key=lambda place: _covered(options[place], boxes))
        boxes.append(options[chosen])
        places.append(chosen)
    return places


_Box = tuple[float, float, float, float]


def _box(centre: tuple[float, float], *, width: float, height: float) -> _Box:
    x, y = centre
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _covered(box: _Box, others: Sequence[_Box]) -> float:
    """Area in square pixels that a box shares with others, and that it lacks inside the plot."""
    inside = _overlap(box, (0.0, 0.0, _PLOT_WIDTH_PX, _PLOT_HEIGHT_PX))
    missing = (box[2] - box[0]) * (box[3] - box[1]) - inside
    return missing + sum(_overlap(box, other) for other in others)


def _overlap(one: _Box, other: _Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)


def _drawn(spot: Spot, spots: Sequence[Spot], *, logarithmic: bool) -> list[_Box]:
    """Return what a spot itself covers: its symbol and its interval."""
    x, y = _pixels(spot, spots, logarithmic=logarithmic)
    low, high = (_y_pixel(end, spots) for end in spot.ends)
    return [_box((x, y), width=_SPOT_PX, height=_SPOT_PX), (x - 3, low, x + 3, high)]


def _line(spots: Sequence[Spot], *, logarithmic: bool) -> list[_Box]:
    """Return what the Pareto front covers: right, then up."""
    corners = [_pixels(spot, spots, logarithmic=logarithmic) for spot in front(spots)]
    boxes: list[_Box] = []
    for (x, y), (next_x, next_y) in pairwise(corners):
        boxes += [(x, y - 1, next_x, y + 1), (next_x - 1, y, next_x + 1, next_y)]
    return boxes


def _pixels(spot: Spot, spots: Sequence[Spot], *, logarithmic: bool) -> tuple[float, float]:
    left, right = _x_range(spots, logarithmic=logarithmic)
    scaled = _scaled(spot.cost, logarithmic=logarithmic)
    return (scaled - left) / (right - left) * _PLOT_WIDTH_PX, _y_pixel(spot.score, spots)


def _y_pixel(score: float, spots: Sequence[Spot]) -> float:
    low, high = _y_range(spots)
    return (score - low) / (high - low) * _PLOT_HEIGHT_PX


def _scaled(cost: float, *, logarithmic: bool) -> float:
    return math.log10(cost) if logarithmic else cost


def _x_range(spots: Sequence[Spot], *, logarithmic: bool) -> tuple[float, float]:
    costs = [_scaled(spot.cost, logarithmic=logarithmic) for spot in spots]
    least = math.log10(1 + _LEAST_SPAN) if logarithmic else max(costs) * _LEAST_SPAN
    pad = max((max(costs) - min(costs)) * 0.12, least)
    left = min(costs) - pad
    return (left if logarithmic else max(left, 0.0)), max(costs) + pad


def _y_range(spots: Sequence[Spot]) -> tuple[float, float]:
    low = max(min(spot.ends[0] for spot in spots), 0.0)
    high = min(max(spot.ends[1] for spot in spots), 100.0)
    pad = max((high - low) * 0.15, 0.25)
    return low - pad, high + pad


def _draw_front(drawing: go.Figure, best: Sequence[Spot]) -> None:
    drawing.add_scatter(
        x=[spot.cost for spot in best],
        y=[spot.score for spot in best],
        mode="lines",
        line={"color": palette.NEUTRAL, "width": 1.5, "dash": "dash", "shape": "hv"},
        name="Pareto front",
        hoverinfo="skip",
    )


def _draw_network(
    drawing: go.Figure,
    spots: Sequence[Spot],
    *,
    symbol: str,
    colours: Mapping[str, str],
    places: Mapping[Spot, Position],
) -> None:
    shades = [colours[spot.method] for spot in spots]
    for spot, shade in zip(spots, shades, strict=True):
        _draw_interval(drawing, spot, shade=shade)
    drawing.add_scatter(
        x=[spot.cost for spot in spots],
        y=[spot.score for spot in spots],
        mode="markers+text",
        text=[spot.label for spot in spots],
        textposition=[places[spot] for spot in spots],
        textfont={"size": 13, "color": shades},
        marker={"size": 11, "color": shades, "symbol": symbol},
        showlegend=False,
        hovertext=[spot.hover for spot in spots],
        hovertemplate="%{hovertext}<extra></extra>",
        cliponaxis=False,
    )


def _draw_interval(drawing: go.Figure, spot: Spot, *, shade: str) -> None:
    """Draw one interval, as a trace of its own: all error bars of a trace share one colour."""
    low, high = spot.ends
    if low == high:
        return
    drawing.add_scatter(
        x=[spot.cost],
        y=[spot.score],
        mode="markers",
        marker={"size": 1, "color": shade},
        error_y={
            "array": [high - spot.score],
            "arrayminus": [spot.score - low],
            "color": shade,
            "thickness": 1.5,
            "width": 5,
        },
        showlegend=False,
        hoverinfo="skip",
    )


def _explain_symbol(drawing: go.Figure, network: str, *, symbol: str) -> None:
    """Put a network into the legend, in no method's colour."""
    drawing.add_scatter(
        x=[None],
        y=[None],
        mode="markers",
        marker={"size": 10, "color": palette.NEUTRAL, "symbol": symbol},
        name=network,
    )
