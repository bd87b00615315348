"""The leaderboard's tables: what a cell says, and what is missing."""

from __future__ import annotations

import pytest

from backbones.method import Published
from convoy.leaderboard.accuracy import Accuracy
from convoy.leaderboard.comparison import Key
from convoy.leaderboard.intervals import Estimate
from convoy.leaderboard.latency import Latency
from convoy.leaderboard.measures import TASKS
from convoy.leaderboard.publication import Beside
from convoy.leaderboard.rows import Group, Row
from dashboard import board

KEY = Key((("task", "classify"), ("image_size", 32)), {"dataset": "digits", "recipe": "quick"})
TWO = (("cpu", "b1"), ("cpu", "b8"))


def beside(dataset: str, top1_pct: float | None, *, comparable: bool) -> Beside:
    """A published row."""
    published = Published(backbone="net/eca", dataset=dataset, top1_pct=top1_pct, source="Table 1")
    return Beside(published, comparable, {}, ())


def row(method: str, *, params: int | None = 1_000_000, p50_ms: float | None = None) -> Row:
    """A row with a score."""
    estimate = Estimate(90.0, 1)
    latency = () if p50_ms is None else (Latency("cpu", "b1", p50_ms, run=7, settled=False),)
    accuracy = Accuracy({"top1": estimate}, {0: 3})
    return Row(f"net/{method}", KEY, params=params, accuracy=accuracy, latency=latency, rank=1)


@pytest.mark.parametrize(
    ("published", "text"),
    [
        ((), None),
        ((beside("digits", 71.0, comparable=True),), "71.00"),
        ((beside("imagenet1k", 71.0, comparable=False),), "71.00 on imagenet1k"),
        (
            (beside("digits", None, comparable=True), beside("digits", 2.0, comparable=True)),
            "2.00",
        ),
        ((beside("digits", None, comparable=True),), None),
    ],
)
def test_a_published_value_names_its_data_set_where_it_is_another(
    published: tuple[Beside, ...], text: str | None
) -> None:
    (top1, _) = TASKS["classify"].measures
    assert board.published_text(Row("net/eca", KEY, published=published), top1) == text


def test_columns_of_which_nothing_is_known_are_left_out() -> None:
    table = board.table(Group(KEY, (row("conv"), row("eca"))), None)
    assert {"published", "p50_ms", "ratio", "spread", "madds_m"}.isdisjoint(table)
    assert table["params_m"] == [1.0, 1.0]


def test_rows_without_the_cost_are_not_drawn() -> None:
    group = Group(KEY, (row("conv", p50_ms=2.0), row("eca", params=None)))
    drawn = {
        cost: [spot.method for spot in board.spots(group, cost=cost, protocol=TWO[0])]
        for cost in board.COSTS
    }
    assert drawn == {"Parameters": ["conv"], "Multiply-adds": [], "Latency": ["conv"]}


def test_latencies_of_another_protocol_are_never_taken() -> None:
    group = Group(KEY, (row("conv", p50_ms=2.0),))
    assert board.spots(group, cost="Latency", protocol=TWO[1]) == []
    assert "p50_ms" not in board.table(group, TWO[1])


def test_latencies_that_did_not_settle_are_named() -> None:
    group = Group(KEY, (row("conv", p50_ms=2.0), row("eca")))
    assert board.unsettled(group, TWO[0]) == ["net/conv"]
    assert board.unsettled(group, TWO[1]) == []


def test_a_group_says_in_what_it_differs() -> None:
    group = Group(KEY, (row("conv"),), {"recipe_hash": ("a", "b"), "image_size": (32, 64)})
    assert board.differences(group).endswith("differs in recipe, image size (32, not 64).")
    assert board.differences(Group(KEY, (row("conv"),))) == ""


AP = Key((("task", "detect"), ("detector", "mask_rcnn")))


def scored(method: str, **estimates: Estimate) -> Row:
    """A row of a detector."""
    return Row(f"net/{method}", AP, params=10**6, accuracy=Accuracy(estimates, {0: 3}), rank=1)


def test_columns_and_the_axis_follow_the_task() -> None:
    two = (Estimate(38.0, 1, band=0.3), Estimate(41.0, 1, band=0.3))
    group = Group(AP, (scored("eca", mask_ap=two[0], box_ap=two[1]),))
    table = board.table(group, None)
    assert (table["mask_ap"], table["box_ap"], table["seeds"]) == ([38.0], [41.0], [1])
    (spot,) = board.spots(group, cost="Parameters", protocol=None)
    assert (spot.score, spot.low, spot.high) == (38.0, None, None)
    assert "Mask AP 38.0 %<br>Box AP 41.0 %" in spot.hover
    by_box = Group(AP, group.rows, by="box_ap")
    assert board.spots(by_box, cost="Parameters", protocol=None)[0].score == 41.0


@pytest.mark.parametrize(
    ("estimate", "caption"),
    [
        (Estimate(38.0, 1, band=0.3), "Average precision of one seed has no interval; rows"),
        (Estimate(38.0, 3, 0.1, 37.0, 39.0, "t"), "± is half of the 95 % interval, over seeds. "),
        (None, ""),
    ],
)
def test_the_caption_says_what_ranks_go_by(estimate: Estimate | None, caption: str) -> None:
    row = scored("eca", **({"mask_ap": estimate} if estimate else {}))
    assert board.interval_caption(Group(AP, (row,))).startswith(caption)
    assert bool(board.interval_caption(Group(AP, (row,)))) == bool(caption)
