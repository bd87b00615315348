"""Categories of a detection run, ranked alone and beside another run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from convoy.categories import compare
from convoy.errors import ConvoyError
from convoy.records import Run
from convoy.store import Store
from tests.dashboard import filling

MASKS = [
    {"category": "cat", "objects": 4, "images": 2, "mask_ap_pct": 30.0, "box_ap_pct": 40.0},
    {"category": "dog", "objects": 5, "images": 5, "mask_ap_pct": 50.0, "box_ap_pct": 35.0},
    {"category": "none", "objects": 0, "images": 0, "mask_ap_pct": None, "box_ap_pct": None},
]


def boxes(rows: list[dict[str, Any]], *, more: float = 0.0) -> list[dict[str, Any]]:
    """The same without masks, and with better boxes."""
    return [
        {**row, "mask_ap_pct": None, "box_ap_pct": row["box_ap_pct"] and row["box_ap_pct"] + more}
        for row in rows
    ]


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Run, Run]:
    with Store.create(f"sqlite:///{tmp_path / 'store.db'}") as store:
        first, second = (
            filling.submit(store, backbone="resnet50/conv", seed=seed, kind="detect")
            for seed in (0, 1)
        )
    return first, second


def ended(run: Run, rows: list[dict[str, Any]], *, fingerprint: str = "f") -> Run:
    """A run as it is when it has succeeded."""
    facts = {"dataset_fingerprint": fingerprint, "split": "val"}
    return replace(run, result={"scores": {}, "facts": facts, "rows": rows})


def test_the_best_found_comes_first_and_what_is_not_there_last(runs: tuple[Run, Run]) -> None:
    compared = compare(ended(runs[0], MASKS))
    assert [line.row["category"] for line in compared.lines] == ["dog", "cat", "none"]
    assert (compared.measure, compared.title, compared.summary()) == ("mask_ap_pct", "Mask AP", "")


def test_another_run_stands_beside_with_the_difference(runs: tuple[Run, Run]) -> None:
    worse = [{**row, "mask_ap_pct": row["mask_ap_pct"] and 20.0} for row in MASKS]
    compared = compare(ended(runs[0], MASKS), ended(runs[1], worse[::-1]))
    assert [line.difference for line in compared.lines] == [30.0, 10.0, None]
    assert compared.summary().startswith(
        "Run 1 has a higher Mask AP than run 2 in 2 of 2 categories and a lower one in 0; the mean "
        "difference is +20.00."
    )


def test_without_masks_on_either_side_boxes_are_compared(runs: tuple[Run, Run]) -> None:
    without = boxes(MASKS, more=1.0)
    for own, theirs, sign in ((MASKS, without, -1.0), (without, MASKS, 1.0)):
        compared = compare(ended(runs[0], own), ended(runs[1], theirs))
        assert compared.measure == "box_ap_pct"
        assert [line.difference for line in compared.lines[:2]] == [sign, sign]


def test_runs_that_share_no_category_are_said_to(runs: tuple[Run, Run]) -> None:
    compared = compare(ended(runs[0], MASKS[:1]), ended(runs[1], MASKS[1:]))
    assert compared.summary() == "Runs 1 and 2 share no category with a score."


def test_runs_on_other_images_are_not_compared(runs: tuple[Run, Run]) -> None:
    with pytest.raises(ConvoyError, match=r"runs 1 .* and 2 .* were scored on different images"):
        compare(ended(runs[0], MASKS), ended(runs[1], MASKS, fingerprint="g"))


@pytest.mark.parametrize("rows", [[], [{"p50_ms": 3.0}]])
def test_a_run_without_categories_is_refused(
    runs: tuple[Run, Run], rows: list[dict[str, Any]]
) -> None:
    with pytest.raises(ConvoyError, match=r"run 1 .* has no scores by category"):
        compare(ended(runs[0], rows))
