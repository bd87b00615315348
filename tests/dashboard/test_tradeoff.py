"""The trade-off plot: its front, its axes, its labels."""

from __future__ import annotations

import pytest

from dashboard import palette
from dashboard.tradeoff import Spot, figure, front, is_logarithmic, label_places, log_ticks


def spot(label: str, cost: float, top1: float, *, network: str = "net", half: float = 0.0) -> Spot:
    """A spot whose method is its label."""
    ends = (top1 - half, top1 + half) if half else (None, None)
    return Spot(label, network, label, cost, top1, *ends)


SPOTS = [
    spot("cheap", 1.0, 70.0),
    spot("beaten", 2.0, 69.0),
    spot("middle", 2.0, 72.0, half=0.5),
    spot("dear", 4.0, 71.0),
    spot("best", 5.0, 75.0, half=1.0),
]


def test_the_front_holds_what_nothing_beats_in_order_of_cost() -> None:
    assert [one.label for one in front(SPOTS)] == ["cheap", "middle", "best"]


def test_of_two_equal_spots_one_is_on_the_front() -> None:
    twins = [spot("one", 1.0, 70.0), spot("two", 1.0, 70.0)]
    assert [one.label for one in front(twins)] == ["one"]


def test_the_front_is_drawn_as_a_line_and_every_spot_with_its_label() -> None:
    colours = palette.by_method(one.method for one in SPOTS)
    drawing = figure(SPOTS, cost="Parameters (M)", score="Top-1 (%)", colours=colours)
    line = next(trace for trace in drawing.data if trace.mode == "lines")
    assert list(line.x) == [1.0, 2.0, 5.0]
    texts = [text for trace in drawing.data if trace.text for text in trace.text]
    assert sorted(texts) == sorted(one.label for one in SPOTS)


def test_intervals_are_drawn_where_they_are_known_and_may_be_lopsided() -> None:
    lopsided = [Spot("a", "net", "a", 1.0, 99.0, 95.0, 99.8), spot("b", 2.0, 98.0)]
    drawing = figure(
        lopsided, cost="x", score="Top-1 (%)", colours={"a": "#111111", "b": "#222222"}
    )
    (bars,) = (trace.error_y for trace in drawing.data if trace.error_y.array is not None)
    assert list(bars.array) == pytest.approx([0.8])
    assert list(bars.arrayminus) == pytest.approx([4.0])


def test_networks_have_symbols_of_their_own_and_methods_colours() -> None:
    two = [spot("eca", 1.0, 70.0, network="a"), spot("eca", 2.0, 71.0, network="b")]
    drawing = figure(two, cost="x", score="Top-1 (%)", colours={"eca": "#0e93a3"})
    drawn = [trace for trace in drawing.data if trace.mode == "markers+text"]
    assert len({trace.marker.symbol for trace in drawn}) == 2
    assert {colour for trace in drawn for colour in trace.marker.color} == {"#0e93a3"}


def test_costs_that_span_much_get_a_logarithmic_axis_with_round_ticks() -> None:
    wide = [spot("small", 1.5, 70.0), spot("large", 90.0, 80.0)]
    assert is_logarithmic(wide)
    assert log_ticks(wide) == [1, 2, 5, 10, 20, 50, 100]
    assert not is_logarithmic(SPOTS)


@pytest.mark.parametrize("top1", [0.5, 99.5])
def test_the_axis_shows_no_impossible_accuracy(top1: float) -> None:
    drawing = figure(
        [spot("a", 1.0, top1, half=30.0)], cost="x", score="Top-1 (%)", colours={"a": "#111111"}
    )
    low, high = drawing.layout.yaxis.range
    assert low > -10
    assert high < 110


def test_labels_of_near_spots_go_to_different_sides() -> None:
    near = [spot("one method", 10.0, 70.0), spot("other method", 10.01, 70.02)]
    first, second, _ = label_places([*near, spot("far", 20.0, 71.0)], logarithmic=False)
    assert first != second


def test_a_label_at_the_right_edge_goes_to_the_left() -> None:
    edge = [spot("a", 1.0, 70.0), spot("a very long name of a method, with settings", 5.0, 71.0)]
    assert label_places(edge, logarithmic=False)[1].endswith("left")
