"""The square of similarities: like channels side by side, every one in its place."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from backbones.redundancy import Measure
from dashboard.similarity import MOST_CELLS, alike_together, figure

NONE_DEAD = np.zeros(6, dtype=bool)


def in_groups(*groups: tuple[int, ...]) -> NDArray[np.float32]:
    """Similar within a group and not beyond."""
    count = sum(map(len, groups))
    similarity = np.full((count, count), 0.1, dtype=np.float32)
    for group in groups:
        similarity[np.ix_(group, group)] = -0.9
    np.fill_diagonal(similarity, 1)
    return similarity


def test_like_channels_stand_together_the_larger_group_first() -> None:
    order = alike_together(in_groups((1, 4), (0, 2, 3, 5)), NONE_DEAD).tolist()
    assert set(order[:4]) == {0, 2, 3, 5}
    assert set(order[4:]) == {1, 4}


def test_dead_channels_stand_last() -> None:
    dead = np.array([True, False, False, False, True, False])
    similarity = in_groups((0, 1, 2), (3, 4, 5))
    similarity[dead] = similarity[:, dead] = 0
    order = alike_together(similarity, dead).tolist()
    assert order[4:] == [0, 4]
    assert sorted(order) == list(range(6))


@pytest.mark.parametrize("alive", [0, 1, 2])
def test_few_living_channels_keep_their_order(alive: int) -> None:
    dead = np.arange(4) >= alive
    assert alike_together(np.eye(4, dtype=np.float32), dead).tolist() == [0, 1, 2, 3]


def test_each_similarity_stands_where_its_channels_do() -> None:
    similarity = in_groups((0, 2), (1,))
    drawing = figure(similarity, np.array([2, 0, 1]), measure=Measure.COSINE, numbered=False)
    (trace,) = drawing.data
    assert trace.x == trace.y == ("channel 2", "channel 0", "channel 1")
    assert trace.z[0, 1] == similarity[2, 0]
    assert trace.z[0, 2] == similarity[2, 1]
    assert (trace.zmin, trace.zmax) == (-1, 1)
    assert not drawing.layout.xaxis.showticklabels
    assert drawing.layout.yaxis.autorange == "reversed"


def test_channels_by_number_are_numbered() -> None:
    drawing = figure(
        np.eye(64, dtype=np.float32), np.arange(64), measure=Measure.COSINE, numbered=True
    )
    assert drawing.layout.xaxis.ticktext == ("0", "10", "20", "30", "40", "50", "60")
    assert drawing.layout.xaxis.tickvals == (0, 10, 20, 30, 40, 50, 60)


def test_more_channels_than_a_screen_can_show_are_averaged() -> None:
    count = 2 * MOST_CELLS + 1  # three to a cell; the last cell holds fewer
    similarity = np.random.default_rng(0).uniform(-1, 1, (count, count)).astype(np.float32)
    order = np.arange(count)[::-1].copy()
    drawing = figure(similarity, order, measure=Measure.CORRELATION, numbered=True)
    (trace,) = drawing.data
    cells = -(-count // 3)
    assert trace.z.shape == (cells, cells)
    turned = similarity[::-1, ::-1]
    assert trace.z[1, 2] == pytest.approx(turned[3:6, 6:9].mean(), abs=1e-6)
    assert trace.z[-1, 0] == pytest.approx(turned[3 * (cells - 1) :, :3].mean(), abs=1e-6)
    assert trace.x[0] == f"channels {count - 1}, {count - 2}, {count - 3}"
    # channel 200 stands in the cell 200 // 3
    ticks = dict(zip(drawing.layout.xaxis.ticktext, drawing.layout.xaxis.tickvals, strict=True))
    assert ticks["200"] == 66
