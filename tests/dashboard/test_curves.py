"""Curves: what is left out, what is marked, what shares a plot."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from convoy.records import Attempt, Point
from convoy.states import Phase
from dashboard import curves
from jobs.job import Resources

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def points(values: list[float]) -> list[Point]:
    """A series with these values."""
    return [Point(step, None, value, NOW) for step, value in enumerate(values, 1)]


def attempt(number: int, *, resumed: int | None) -> Attempt:
    """An attempt that has begun."""
    return Attempt(
        run_id=1,
        number=number,
        dispatcher="desk",
        phase=Phase.RUNNING,
        outcome=None,
        failure=None,
        error="",
        node="desk",
        pid=1,
        environment={},
        resources=Resources(),
        resumed_step=resumed,
        created_at=NOW,
        began_at=NOW,
        first_step_at=NOW,
        ended_at=None,
        released_at=None,
        lease_until=None,
    )


def test_the_precision_of_masks_and_that_of_boxes_have_a_plot_each() -> None:
    names = ["val_box_ap_pct", "val_box_ap50_pct", "val_mask_ap_small_pct", "val_mask_ap_pct"]
    mask, box = curves.panels(names)
    assert (mask.title, mask.names) == (
        "Mask AP (%)",
        ("val_mask_ap_pct", "val_mask_ap_small_pct"),
    )
    assert (box.title, box.names) == ("Box AP (%)", ("val_box_ap_pct", "val_box_ap50_pct"))


def test_masks_and_boxes_have_the_same_colours() -> None:
    parts = ("", "50", "75", "_small", "_medium", "_large")
    names = [f"val_{what}_ap{part}_pct" for what in ("mask", "box") for part in parts]
    series = {name: points([1.0, 2.0]) for name in names}
    mask, box = (
        {curve.name: curve.line.color for curve in curves.figure(panel, series, marks=[]).data}
        for panel in curves.panels(names)
    )
    assert mask == box
    assert len(set(mask.values())) == len(parts)


def test_curves_of_a_plot_have_colours_of_their_own_and_short_names() -> None:
    parts = ("cls", "bbox", "mask", "rpn_cls", "rpn_bbox")
    names = ["train_loss", *(f"loss_{part}" for part in parts)]
    (loss,) = curves.panels(names)
    drawn = curves.figure(loss, {name: points([1.0, 2.0]) for name in names}, marks=[]).data
    assert len({curve.line.color for curve in drawn}) == len(names)
    assert [curve.name for curve in drawn] == [
        "Training loss",
        *("cls", "bbox", "mask", "rpn cls", "rpn bbox"),
    ]


def test_series_of_one_unit_share_a_plot() -> None:
    names = ["lr", "val_top1_pct", "train_loss", "images_per_s", "val_loss", "val_top5_pct"]
    shown = [(panel.title, panel.names) for panel in curves.panels(names)]
    assert shown == [
        ("Loss", ("train_loss", "val_loss")),
        ("Accuracy (%)", ("val_top1_pct", "val_top5_pct")),
        ("Learning rate", ("lr",)),
        ("Images per second", ("images_per_s",)),
    ]


def test_thinning_keeps_peaks_troughs_and_order() -> None:
    values = [1.0] * 100_000
    values[51_234], values[77_777] = 9.0, -9.0
    kept = curves.thin(points(values))
    assert len(kept) <= curves.MOST_POINTS
    assert {9.0, -9.0} <= {point.value for point in kept}
    assert [point.step for point in kept] == sorted(point.step for point in kept)


def test_a_short_series_is_drawn_whole() -> None:
    short = points([3.0, 2.0, 1.0])
    assert curves.thin(short) == short


def test_smoothing_neither_leads_nor_lags() -> None:
    straight = [float(value) for value in range(500)]
    assert curves.smooth(straight) == pytest.approx(straight)
    noisy = [value + (-1) ** index for index, value in enumerate(straight)]
    assert curves.smooth(noisy)[100:400] == pytest.approx(straight[100:400], abs=0.2)


def test_each_further_attempt_is_marked_where_it_took_up_the_work() -> None:
    attempts = [attempt(1, resumed=None), attempt(2, resumed=80), attempt(3, resumed=None)]
    assert curves.resumptions(attempts) == [(80, "attempt 2"), (0, "attempt 3")]


def test_marks_are_drawn_as_lines() -> None:
    panel = curves.Panel("Loss", ("train_loss",))
    drawing = curves.figure(panel, {"train_loss": points([2.0, 1.0])}, marks=[(1, "attempt 2")])
    assert [shape.x0 for shape in drawing.layout.shapes] == [1]
    assert [note.text for note in drawing.layout.annotations] == ["attempt 2"]
