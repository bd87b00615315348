"""Maps side by side: each in its frame, unchanged but for its scale."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard.tiles import Tile, figure


def tile(number: int, side: int = 16, *, scale: float = 1.0) -> Tile:
    values = np.random.default_rng(number).normal(size=(side, side)).astype(np.float32)
    return Tile(scale * values, str(number), f"channel {number}")


def pieces(
    tiles: list[Tile], **how: float
) -> list[np.ndarray[tuple[int, int], np.dtype[np.float32]]]:
    """What is drawn within each frame."""
    drawing = figure(tiles, across=3, side_px=50, most=how.get("most"))
    canvas = drawing.data[0].z
    return [
        canvas[
            round(frame.y0 + 0.5) : round(frame.y1 + 0.5),
            round(frame.x0 + 0.5) : round(frame.x1 + 0.5),
        ]
        for frame in drawing.layout.shapes
    ]


def test_each_map_is_drawn_in_its_frame_by_its_own_scale() -> None:
    tiles = [tile(number, scale=10.0**number) for number in range(5)]
    for one, drawn in zip(tiles, pieces(tiles), strict=True):
        assert np.allclose(drawn, one.values / np.abs(one.values).max(), atol=1e-6)


def test_maps_can_share_a_scale() -> None:
    tiles = [tile(0), tile(1, scale=0.1)]
    for one, drawn in zip(tiles, pieces(tiles, most=4.0), strict=True):
        assert np.allclose(drawn, one.values / 4, atol=1e-6)


def test_small_maps_are_repeated() -> None:
    (drawn,) = pieces([tile(0, side=4)])
    values = tile(0, side=4).values
    assert drawn.shape == (16, 16)
    assert np.allclose(drawn[::4, ::4], values / np.abs(values).max(), atol=1e-6)
    assert np.array_equal(drawn, drawn[::4, ::4].repeat(4, 0).repeat(4, 1))


@pytest.mark.parametrize(("side", "cells"), [(112, 56), (224, 56), (150, 50), (64, 64)])
def test_large_maps_are_averaged(side: int, cells: int) -> None:
    (drawn,) = pieces([tile(0, side=side)])
    each = side // cells
    means = tile(0, side=side).values.reshape(cells, each, cells, each).mean((1, 3))
    assert np.allclose(drawn, means / np.abs(means).max(), atol=1e-5)


def test_a_map_of_noughts_is_drawn_as_such() -> None:
    (drawn,) = pieces([Tile(np.zeros((16, 16), dtype=np.float32), "0", "dead")])
    assert not drawn.any()


def test_the_number_stands_above_its_map_and_the_rest_is_told_on_it() -> None:
    tiles = [tile(number) for number in (7, 3, 9, 5)]
    drawing = figure(tiles, across=3, side_px=50)
    assert [title.text for title in drawing.layout.annotations] == ["7", "3", "9", "5"]
    points = drawing.data[1]
    assert points.text == ("channel 7", "channel 3", "channel 9", "channel 5")
    for title, frame, x, y in zip(
        drawing.layout.annotations, drawing.layout.shapes, points.x, points.y, strict=True
    ):
        assert frame.x0 < title.x == x < frame.x1
        assert title.y <= frame.y0 < y < frame.y1


def test_a_short_row_has_tiles_of_the_same_size() -> None:
    whole, part = (
        figure([tile(n) for n in range(count)], across=3, side_px=50) for count in (3, 1)
    )
    assert whole.layout.xaxis.range == part.layout.xaxis.range
    assert whole.layout.height == part.layout.height


def test_pairs_stand_closer_to_each_other() -> None:
    drawing = figure([tile(n) for n in range(4)], across=4, side_px=50, together=2)
    left = [frame.x0 for frame in drawing.layout.shapes]
    within, between, again = np.diff(left)
    assert within == again < between
