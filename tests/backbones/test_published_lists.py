"""The rows that papers on dynamic convolutions print are all kept with their method, or explained.

`data/dynamic_rows.json` lists them, gathered from papers, releases and what quotes them. That the
parameters of a kept row are ours, or that it says why not, is held by `test_published.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backbones import method as registry
from backbones.method import Published
from backbones.resolve import resolve

LIST: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "data" / "dynamic_rows.json").read_text("utf-8")
)
KEPT = [row for row in LIST if "absent" not in row]
ABSENT = [row for row in LIST if "absent" in row]


def kept(backbone: str) -> list[Published]:
    names = [name for name, _ in resolve(backbone).methods]
    return [row for name in names for row in registry.published(name) if row.backbone == backbone]


def says_the_same(ours: Published, theirs: dict[str, Any]) -> bool:
    figures = ("params_m", "params_exact", "top1_pct")
    if ours.dataset != theirs["dataset"]:
        return False
    if ours.dataset == "coco2017":
        return ours.box_ap_pct == float(theirs["box_ap"])
    known = [(getattr(ours, name), theirs[name]) for name in figures if name in theirs]
    return all(mine == printed for mine, printed in known if mine is not None) and any(
        mine == printed for mine, printed in known
    )


@pytest.mark.parametrize("row", KEPT, ids=lambda row: str(row["row"]))
def test_a_printed_row_stands_with_its_method(row: dict[str, Any]) -> None:
    assert any(says_the_same(ours, row) for ours in kept(row["row"]))


def test_a_row_with_a_printed_count_of_parameters_keeps_it() -> None:
    counted = [row for row in KEPT if "params_m" in row]
    assert len(counted) > 70
    for row in counted:
        found = [one for one in kept(row["row"]) if says_the_same(one, row)]
        assert any(one.params_m == row["params_m"] for one in found), row


def test_a_row_that_is_not_kept_says_why() -> None:
    assert all(row["absent"] for row in ABSENT)
    assert len(ABSENT) < 10
