"""How alike the maps of a block are, as a square of channels by channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from backbones.redundancy import Measure
from dashboard import heat, palette

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_CELLS = 400
"""Cells along a side: more than the screen can show would only make the page slow."""
WIDTH_PX, HEIGHT_PX = 566, 540


def alike_together(similarity: NDArray[np.float32], dead: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Order channels so that those with like maps stand together.

    They are merged step by step, always the two groups of the highest mean absolute similarity,
    the larger one first; dead maps come last.

    Args:
        similarity: (C, C), symmetric, -1 to 1.
        dead: (C,) maps that take no part.
    """
    from sklearn.cluster import AgglomerativeClustering

    alive = np.flatnonzero(~dead)
    if len(alive) < 3:
        return np.concatenate([alive, np.flatnonzero(dead)])
    distance = 1 - np.abs(similarity[np.ix_(alive, alive)])
    tree = AgglomerativeClustering(
        n_clusters=None, distance_threshold=0.0, metric="precomputed", linkage="average"
    ).fit(distance)
    # each step joins two groups; the first len(alive) are the channels themselves
    groups: list[list[int]] = [[int(channel)] for channel in alive]
    for joined in tree.children_:
        small, large = sorted((groups[index] for index in joined), key=len)
        groups.append(large + small)
    return np.concatenate([groups[-1], np.flatnonzero(dead)]).astype(np.int64)


def figure(
    similarity: NDArray[np.float32], order: NDArray[np.int64], *, measure: Measure, numbered: bool
) -> go.Figure:
    """Draw the square.

    Args:
        similarity: (C, C), -1 to 1.
        order: The channels from left to right and from top to bottom.
        measure: What was measured.
        numbered: Whether the order is that of the channels' numbers, which the axes then tell.
    """
    values, names = _pooled(similarity[np.ix_(order, order)], order)
    drawing = go.Figure(
        go.Heatmap(
            z=values,
            x=names,
            y=names,
            zmin=-1,
            zmax=1,
            colorscale=palette.AROUND_NOUGHT,
            colorbar={"thickness": 10, "xpad": 6, "outlinewidth": 0},
            hovertemplate=f"{measure} %{{z:.3f}}<br>%{{y}}<br>%{{x}}<extra></extra>",
        )
    )
    ticks = heat.round_ticks(len(order), each=_each(len(order))) if numbered else {}
    title = "channel" if numbered else "channels, like ones side by side"
    shown = {"showgrid": False, "showticklabels": numbered, "ticks": "", **ticks}
    drawing.update_xaxes(
        title={"text": title, "standoff": 8}, constrain="domain", constraintoward="left", **shown
    )
    drawing.update_yaxes(
        autorange="reversed",
        scaleanchor="x",
        constrain="domain",
        constraintoward="top",
        automargin=True,
        **shown,
    )
    drawing.update_layout(height=HEIGHT_PX, margin={"l": 8, "r": 8, "t": 8, "b": 48})
    return drawing


def _pooled(
    values: NDArray[np.float32], order: NDArray[np.int64]
) -> tuple[NDArray[np.float32], list[str]]:
    """Average over blocks of channels where there are too many, and name each row."""
    count = len(order)
    each = _each(count)
    starts = np.arange(0, count, each)
    if each > 1:
        sizes = np.diff(np.append(starts, count))
        sums = np.add.reduceat(np.add.reduceat(values, starts, axis=0), starts, axis=1)
        values = (sums / np.outer(sizes, sizes)).astype(np.float32)
    names = [
        f"channel{'s' if each > 1 else ''} {', '.join(map(str, order[start : start + each]))}"
        for start in starts
    ]
    return values, names


def _each(count: int) -> int:
    """Return how many channels share a cell."""
    return -(-count // MOST_CELLS)
