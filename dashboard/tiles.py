"""Feature maps side by side, each with the number of its channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from dashboard import palette

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST_CELLS, _MOST_CELLS = 16, 64
"""Cells along the side of a tile: smaller maps are repeated, larger ones averaged."""
_AROUND_PX = 4
_GAP, _HEAD = 1 / 16, 0.3
"""Space between tiles and above each, for its number, as shares of its side."""


@dataclass(frozen=True)
class Tile:
    """One map.

    Attributes:
        values: (H, W).
        title: Stands above it.
        about: Lines that are shown when a pointer is over it.
    """

    values: NDArray[np.float32]
    title: str
    about: str


def figure(
    tiles: Sequence[Tile],
    *,
    across: int,
    side_px: int,
    together: int = 1,
    most: float | None = None,
) -> go.Figure:
    """Draw maps of one size in rows.

    Args:
        tiles: At least one.
        across: Tiles in a row.
        side_px: Side of a tile where the page is wide enough.
        together: So many tiles of a row stand closer to each other than to the next ones.
        most: The absolute value of the strongest colour; None: the largest of each map.
    """
    pictures = [_scaled(tile.values, most) for tile in tiles]
    side = pictures[0].shape[0]
    corners = [
        _corner(*divmod(index, across), side=side, together=together) for index in range(len(tiles))
    ]
    # as wide as a whole row, so that tiles of a shorter one are no larger
    wide = _corner(0, across - 1, side=side, together=together)[1] + side
    canvas = np.full((corners[-1][0] + side, wide), np.nan, np.float32)
    for (top, left), picture in zip(corners, pictures, strict=True):
        canvas[top : top + side, left : left + side] = picture
    drawing = go.Figure(
        [
            go.Heatmap(
                z=canvas,
                zmin=-1,
                zmax=1,
                colorscale=palette.AROUND_NOUGHT,
                showscale=False,
                hoverinfo="skip",
            ),
            _pointed_at(tiles, corners, side=side, side_px=side_px),
        ]
    )
    drawing.update_layout(
        annotations=[
            _title(tile, *corner, side) for tile, corner in zip(tiles, corners, strict=True)
        ],
        shapes=[_frame(*corner, side) for corner in corners],
        height=round(canvas.shape[0] / side * side_px) + 2 * _AROUND_PX,
        margin={"l": 0, "r": 0, "t": _AROUND_PX, "b": _AROUND_PX},
        showlegend=False,
        hovermode="closest",
    )
    anchored = {"visible": False, "constrain": "domain"}
    drawing.update_xaxes(range=[-1, canvas.shape[1]], constraintoward="left", **anchored)
    drawing.update_yaxes(
        range=[canvas.shape[0], -1], constraintoward="top", scaleanchor="x", **anchored
    )
    return drawing


def _corner(row: int, column: int, *, side: int, together: int) -> tuple[int, int]:
    """Return top and left of a tile, in cells."""
    gap, head = round(_GAP * side), round(_HEAD * side)
    apart = column // together * 3 * gap if together > 1 else 0
    return row * (side + head) + head, column * (side + gap) + apart


def _scaled(values: NDArray[np.float32], most: float | None) -> NDArray[np.float32]:
    """Bring a map to -1..1 and to as many cells as a tile can show."""
    high, wide = values.shape
    smaller = -(-max(high, wide) // _MOST_CELLS)
    if smaller > 1:
        rows, columns = np.arange(0, high, smaller), np.arange(0, wide, smaller)
        count = np.outer(np.diff(np.append(rows, high)), np.diff(np.append(columns, wide)))
        values = np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1) / count
    larger = -(-_LEAST_CELLS // max(values.shape))
    values = values.repeat(larger, axis=0).repeat(larger, axis=1)
    return values / (most or float(np.abs(values).max()) or 1.0)


def _pointed_at(
    tiles: Sequence[Tile], corners: Sequence[tuple[int, int]], *, side: int, side_px: int
) -> go.Scatter:
    """Say in the middle of each tile what is known of it."""
    return go.Scatter(
        x=[left + (side - 1) / 2 for _, left in corners],
        y=[top + (side - 1) / 2 for top, _ in corners],
        mode="markers",
        marker={"size": side_px, "symbol": "square", "opacity": 0},
        text=[tile.about for tile in tiles],
        hovertemplate="%{text}<extra></extra>",
    )


def _title(tile: Tile, top: int, left: int, side: int) -> dict[str, object]:
    return {
        "text": tile.title,
        "x": left + (side - 1) / 2,
        "y": top - 0.5,
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": 11},
        "borderpad": 0,
    }


def _frame(top: int, left: int, side: int) -> dict[str, object]:
    line = {"color": palette.NEUTRAL, "width": 0.6}
    right, bottom = left + side - 0.5, top + side - 0.5
    return {
        "type": "rect",
        "x0": left - 0.5,
        "y0": top - 0.5,
        "x1": right,
        "y1": bottom,
        "line": line,
    }
