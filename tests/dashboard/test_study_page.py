"""The leaderboard of a study, drawn over a real store without a browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from convoy import repeatable, study
from convoy.leaderboard.study import board
from convoy.submission import Wishes
from dashboard import study_table
from jobs import studies
from tests.dashboard.conftest import Pages, store_of
from tests.dashboard.test_pages import said
from tests.platform.test_study_board import CONV, FULL, ONE

KW = studies.get("kw-resnet18-300e")


def test_a_study_is_chosen_by_the_address_of_the_page(empty_pages: Pages) -> None:
    app = empty_pages.open(study=KW.name)
    assert not app.exception
    (table,) = (frame.value for frame in app.dataframe)
    assert list(table["backbone"]) == list(KW.by_backbone)
    assert set(table["state"]) == {"not submitted"}
    assert list(table["published"])[:2] == [70.44, 72.73]
    words = said(app)
    assert KW.title in words
    assert "one recipe for all rows: kw_adv300" in words
    assert "source of the figures: OSVAI/KernelWarehouse README.md" in words
    assert f"platform submit study {KW.name}" in words


def test_choosing_a_study_puts_it_into_the_address(pages: Pages) -> None:
    app = pages.open()
    ranked = len(app.dataframe)
    app.selectbox("board_study").select("od-resnet-100e").run()
    assert not app.exception
    assert app.query_params["study"] == "od-resnet-100e"
    assert len(app.dataframe) == 1
    app.selectbox("board_study").set_value(None).run()
    assert "study" not in app.query_params
    assert len(app.dataframe) == ranked


def test_an_unknown_study_in_the_address_is_named(pages: Pages) -> None:
    app = pages.open(study="kw-resnet18")
    assert not app.exception
    assert "unknown study 'kw-resnet18'; did you mean" in said(app)
    assert len(app.dataframe) > 1


def test_rows_that_wait_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgetful: None
) -> None:
    variant = study.Variant({"data": "digits", "batch_size": 128})
    with store_of(tmp_path) as store:
        repeatable.enqueue(store, study.plan(KW, variant, wishes=Wishes(owner="ada")))
    (table,) = (frame.value for frame in Pages(tmp_path, monkeypatch).open(study=KW.name).dataframe)
    assert set(table["state"]) == {"queued"}
    assert list(table["runs"].iloc[0]) == ["1"]


def test_measured_stands_beside_published() -> None:
    columns = study_table.table(board(KW, FULL))
    assert columns["backbone"][:2] == [ONE, CONV]
    assert columns["top1"][:2] == [75.0, 70.5]
    assert columns["published"][:2] == [74.77, 70.44]
    assert columns["difference"][1] == "+0.06 within noise"
    assert columns["difference"][2] is None
    assert columns["ratio"][:3] == [1.4, 1.0, None]
    assert columns["params_m"][2] is None


def test_columns_in_which_nothing_stands_are_left_away() -> None:
    assert not {"rank", "top1", "ratio"} & study_table.table(board(KW, [])).keys()
