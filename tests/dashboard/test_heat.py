"""A heat map shows every weight, centred at nought, with the layers marked."""

from __future__ import annotations

import numpy as np
import pytest

from backbones.attention_map import Axis, Map, Section
from dashboard.heat import figure

ROWS = Axis("mixture", (Section("conv1", 2), Section("conv2", 3)))
COLUMNS = Axis("cell", (Section("conv1", 4), Section("conv2", 6)))


def one(scale: float = 0.1, *, note: str = "", spread: bool = True) -> Map:
    values = scale * np.linspace(-1, 0.5, 50, dtype=np.float32).reshape(5, 10)
    deviation = np.full_like(values, 0.01) if spread else None
    return Map("stage0", "Attention", ROWS, COLUMNS, values, spread=deviation, note=note)


def test_every_weight_is_drawn_in_its_place() -> None:
    map_ = one()
    (trace,) = figure([map_]).data
    assert np.array_equal(trace.z, map_.values)
    assert (trace.customdata == map_.spread).all()
    assert trace.y[0] == "mixture 0 of conv1"
    assert trace.y[2] == "mixture 2 of conv2"
    assert trace.x[9] == "cell 9 of conv2"
    assert (len(set(trace.x)), len(set(trace.y))) == (10, 5)


def test_colours_are_centred_at_nought_for_each_map() -> None:
    large, small = figure([one(1.0), one(0.1)]).data
    assert (large.zmin, large.zmax) == (-1, 1)
    assert small.zmax == -small.zmin == pytest.approx(0.1)


def test_weights_that_are_all_nought_have_a_scale_too() -> None:
    (trace,) = figure([one(0.0)]).data
    assert (trace.zmin, trace.zmax) == (-1, 1)


def test_a_hover_tells_the_spread_only_where_there_is_one() -> None:
    varying, fixed = figure([one(), one(spread=False)]).data
    assert "±" in varying.hovertemplate
    assert "±" not in fixed.hovertemplate
    assert fixed.customdata is None


def test_titles_tell_the_conditions() -> None:
    drawing = figure([one(), one(note="temperature 0")])
    assert [text.text for text in drawing.layout.annotations] == [
        "Attention",
        "Attention, temperature 0",
    ]


def test_the_bounds_of_layers_are_lines_and_their_names_stand_beside_them() -> None:
    drawing = figure([one(), one()])
    lines = {(line.xref, line.yref, line.x0, line.y0) for line in drawing.layout.shapes}
    assert lines == {
        ("x domain", "y", 0, 1.5),
        ("x", "y domain", 3.5, 0),
        ("x2 domain", "y2", 0, 1.5),
        ("x2", "y2 domain", 3.5, 0),
    }
    axis = drawing.layout.yaxis
    assert axis.ticktext == ("conv1", "conv2")
    assert axis.tickvals == (0.5, 3.0)
    assert axis.autorange == "reversed"


def test_labels_without_room_are_left_out() -> None:
    rows = Axis("layer", tuple(Section(f"layer{i}", 1) for i in range(200)))
    columns = Axis("kernel", (Section("", 4),))
    values = np.ones((200, 4), dtype=np.float32)
    drawing = figure([Map("all layers", "Attention", rows, columns, values)])
    shown = drawing.layout.yaxis.tickvals
    px = drawing.layout.height / 200
    assert 10 < len(shown) < 200
    assert min(np.diff(shown)) * px > 12
    assert drawing.data[0].x[3] == "kernel 3"


@pytest.mark.parametrize(("count", "last"), [(4, 3), (10, 8), (74, 70), (224, 200), (552, 500)])
def test_ticks_of_the_lower_axis_are_round(count: int, last: int) -> None:
    columns = Axis("cell", (Section("conv1", count),))
    values = np.ones((5, count), dtype=np.float32)
    axis = figure([Map("stage0", "Attention", ROWS, columns, values)]).layout.xaxis
    assert axis.tickvals[-1] == last
    assert len(axis.tickvals) <= 8
    assert axis.ticktext == tuple(map(str, axis.tickvals))
