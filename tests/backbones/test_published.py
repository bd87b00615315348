"""What papers print stands beside our own counts, and the two agree or the row says why."""

from __future__ import annotations

import re

import pytest

from backbones import method as registry
from backbones.cost import Cost, cost
from backbones.method import Published
from backbones.resolve import resolve

BINARY = "2^20"
"""Rows whose convention names this count in binary mega."""

SHAPES = {
    "cifar10": {"classes": 10, "image_size": 32},
    "cifar100": {"classes": 100, "image_size": 32},
}
"""Of what networks are counted for, where that is not ImageNet."""

ROWS = [(name, row) for name in registry.modules() for row in registry.published(name)]
CELL = re.compile(r"(?P<value>\d+(?:\.(?P<decimals>\d+))?) M")


def rows(*, having: str) -> list[object]:
    """Rows of networks that classify; what a whole detector counts is held where detectors are."""
    return [
        pytest.param(row, id=f"{row.backbone} {number}")
        for number, (_, row) in enumerate(ROWS)
        if getattr(row, having) is not None and row.task == "classify"
    ]


def counted(row: Published) -> Cost:
    return cost(row.backbone, **SHAPES.get(row.dataset, {}))


def half_a_digit(number: str) -> float:
    return 0.5 * 10.0 ** -len(number.partition(".")[2])


@pytest.mark.parametrize("method", registry.modules())
def test_rows_stand_with_their_method_in_canonical_text(method: str) -> None:
    for row in registry.published(method):
        resolved = resolve(row.backbone)
        assert str(resolved) == row.backbone
        assert method in dict(resolved.methods)


@pytest.mark.parametrize("method", registry.modules())
def test_rows_name_their_source_and_differ(method: str) -> None:
    found = registry.published(method)
    assert all(row.source for row in found)
    assert len({row.model_dump_json() for row in found}) == len(found)


@pytest.mark.parametrize("row", rows(having="params_exact"))
def test_parameters_equal_those_of_the_official_code_to_the_unit(row: Published) -> None:
    assert counted(row).params == row.params_exact


@pytest.mark.parametrize("row", rows(having="params_m"))
def test_parameters_equal_the_printed_ones_or_the_row_says_why(row: Published) -> None:
    params = counted(row).params
    cell = CELL.fullmatch(row.printed.get("Params", ""))
    if cell and BINARY in row.convention:
        ours, printed = params / 2**20, cell["value"]
        assert row.params_m == pytest.approx(float(printed) * 1.048576, abs=0.005)
    else:
        ours, printed = params / 1e6, cell["value"] if cell else str(row.params_m)
        assert row.params_m == float(printed)
    if abs(ours - float(printed)) > half_a_digit(printed) * (1 + 1e-9):
        assert "param" in row.note, f"ours is {ours:.4f} M and the note says nothing about it"
        assert f"{ours:.2f}" in row.note, f"the note should name our {ours:.2f} M"


@pytest.mark.parametrize("row", rows(having="madds_m"))
def test_multiply_adds_equal_the_known_ones_to_their_last_digit(row: Published) -> None:
    madds_m = counted(row).madds / 1e6
    assert madds_m == pytest.approx(row.madds_m, abs=half_a_digit(str(row.madds_m)) * 1.01)


@pytest.mark.parametrize(
    ("backbone", "epochs", "top1_pct"),
    [("resnet18/conv", 100, 70.25), ("resnet18/conv", 300, 70.44), ("resnet50/eca", 100, 77.48)],
)
def test_the_rows_that_tables_are_read_for_are_there(
    backbone: str, epochs: int, top1_pct: float
) -> None:
    found = [(row.epochs, row.top1_pct) for _, row in ROWS if row.backbone == backbone]
    assert (epochs, top1_pct) in found


DETECTORS = [row for _, row in ROWS if row.task != "classify"]
APS = {"box AP": "box_ap_pct", "mask AP": "mask_ap_pct"}


def test_rows_of_coco_say_which_detector_they_are_of() -> None:
    assert len(DETECTORS) > 40
    assert all((row.dataset == "coco2017") == (row.task != "classify") for _, row in ROWS)


@pytest.mark.parametrize("row", DETECTORS, ids=lambda row: f"{row.task} {row.backbone}")
def test_a_detector_s_row_holds_the_figures_that_it_prints(row: Published) -> None:
    printed = {
        name: float(cell) for cell_name, cell in row.printed.items() if (name := APS.get(cell_name))
    }
    assert {name: value for name in APS.values() if (value := getattr(row, name))} == printed
    assert (row.mask_ap_pct is not None) == (row.task == "mask_rcnn")
    assert row.box_ap_pct is not None
    assert row.top1_pct is row.top5_pct is None
    cell = CELL.fullmatch(row.printed.get("Params", ""))
    assert row.params_m == (float(cell["value"]) if cell else None)


def test_a_row_that_classifies_has_no_average_precision() -> None:
    classifying = [row for _, row in ROWS if row.task == "classify"]
    assert {(row.box_ap_pct, row.mask_ap_pct) for row in classifying} == {(None, None)}
