"""Every page, drawn over a real store without a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from convoy.states import RunState
from tests.dashboard import detectors
from tests.dashboard.conftest import Filled, Pages
from tests.dashboard.filling import BATCHED, DEVICE, ENTRIES, SPREAD


def said(app: AppTest) -> str:
    """Everything that a page says in words."""
    parts = [*app.markdown, *app.caption, *app.info, *app.warning, *app.error, *app.code]
    text = "\n".join(str(part.value) for part in [*app.title, *app.subheader, *parts])
    return text.replace("\\", "")


@pytest.mark.parametrize("page", ["", "runs", "run"])
def test_a_page_of_an_empty_store_says_what_to_type(empty_pages: Pages, page: str) -> None:
    app = empty_pages.open(page)
    assert not app.exception
    assert "platform submit classify" in said(app)


def test_a_store_that_does_not_answer_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgetful: None
) -> None:
    monkeypatch.setenv("CONVOY_STORE_URL", "postgresql://nobody@127.0.0.1:1/convoy")
    app = Pages(tmp_path, monkeypatch).open()
    assert not app.exception
    assert "does not answer" in said(app)
    assert "tries again every 5 seconds" in said(app)


@pytest.mark.parametrize("page", ["", "runs", "run"])
def test_a_page_without_a_store_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgetful: None, page: str
) -> None:
    app = Pages(tmp_path / "nowhere", monkeypatch).open(page)
    assert not app.exception
    assert "platform init" in said(app)


def test_settings_that_are_wrong_are_named_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgetful: None
) -> None:
    (tmp_path / "convoy.toml").write_text("lease_s = 'soon'\n")
    app = Pages(tmp_path, monkeypatch).open()
    assert not app.exception
    assert "lease_s" in said(app)


def test_the_leaderboard_ranks_each_comparison_key_in_a_table_of_its_own(pages: Pages) -> None:
    app = pages.open()
    assert not app.exception
    quick, long = (table.value for table in app.dataframe)
    assert quick["backbone"].iloc[0] == "resnet18(stem=small)/kernel_warehouse(budget=4)"
    assert set(quick["backbone"]) == set(ENTRIES)
    assert list(quick["seeds"]) == [len(SPREAD)] * len(ENTRIES)
    assert len(long) == 2
    assert "Not comparable with the first table; differs in recipe" in said(app)


def test_the_leaderboard_shows_what_a_backbone_costs(pages: Pages) -> None:
    quick = pages.open().dataframe[0].value.set_index("backbone")
    row = quick.loc["resnet18(stem=small)/ghost"]
    _, params, madds, p50, ratio = ENTRIES["resnet18(stem=small)/ghost"]
    assert (row["params_m"], row["madds_m"]) == (params / 1e6, madds / 1e6)
    assert (row["p50_ms"], row["ratio"]) == (p50, ratio)


@pytest.mark.parametrize(
    ("name", "value", "left"),
    [
        ("network", "mobilenetv2_100", [1]),
        ("method", "eca", [1, 1]),
        ("recipe", "digits_long", [2]),
    ],
)
def test_a_filter_narrows_the_tables(pages: Pages, name: str, value: str, left: list[int]) -> None:
    app = pages.open()
    app.selectbox(f"board_{name}").select(value).run()
    assert not app.exception
    assert [len(table.value) for table in app.dataframe] == left


def test_filters_that_leave_nothing_say_so(pages: Pages) -> None:
    app = pages.open()
    app.selectbox("board_network").select("mobilenetv2_100")
    app.selectbox("board_method").select("eca").run()
    assert "No row matches" in said(app)


def test_another_protocol_changes_the_latencies(pages: Pages) -> None:
    app = pages.open()
    first = app.dataframe[0].value["p50_ms"]
    app.selectbox("board_protocol").set_value((DEVICE, BATCHED)).run()
    assert list(app.dataframe[0].value["p50_ms"]) == pytest.approx(list(6 * first))


def test_latency_alone_has_a_table_for_each_protocol(pages: Pages) -> None:
    app = pages.open()
    app.selectbox("board_task").select("benchmark").run()
    assert not app.exception
    tables = [len(table.value) for table in app.dataframe]
    assert tables == [len(ENTRIES)] * 2 + [len(detectors.MASKS)]
    assert not app.get("plotly_chart")


def test_detectors_are_a_task_of_their_own(pages: Pages) -> None:
    app = pages.open()
    assert app.selectbox("board_task").options == ["classify", "detect", "benchmark"]
    app.selectbox("board_task").select("detect").run()
    assert not app.exception
    masks, boxes = (table.value for table in app.dataframe)
    assert list(masks["mask_ap"])[:2] == [38.3, 38.1]
    assert list(masks["rank"]) == [1, 1, 3, 4, 5]
    assert list(masks["published"])[:3] == ["38.9", "38.4", "36.4"]
    assert masks["p50_ms"].iloc[0] == detectors.MASKS[masks["backbone"].iloc[0]][4]
    assert list(boxes["box_ap"]) == [39.2, 37.3]
    assert "mask_ap" not in boxes
    assert "top1" not in masks
    words = said(app)
    assert "Not comparable with the first table; differs in detector" in words
    assert "rows of one seed share a rank within 0.3" in words
    assert app.segmented_control("board_cost").label == "Mask AP against"


def test_a_finished_detector_shows_its_precision(pages: Pages, filled: Filled) -> None:
    app = pages.open("run", run=str(filled.runs["masks"]))
    assert not app.exception
    figures = {metric.label: metric.value for metric in app.metric}
    assert (figures["Mask AP"], figures["Box AP"]) == ("33.60 %", "36.50 %")


def test_the_runs_are_counted_by_state(pages: Pages) -> None:
    app = pages.open("runs")
    assert not app.exception
    counts = {metric.label.rsplit(" ", 1)[1].lower(): metric.value for metric in app.metric}
    assert counts.keys() == {state.value for state in RunState}
    assert counts["failed"] == "1"
    assert counts["running"] == "2"


def test_the_table_of_runs_says_how_far_each_is_and_why_it_waits(
    pages: Pages, filled: Filled
) -> None:
    table = pages.open("runs").dataframe[0].value.set_index("id")
    running, queued = (table.loc[filled.runs[name]] for name in ("running", "queued"))
    assert running["progress"] == pytest.approx(0.45, abs=0.01)
    assert "left" in running["time"]
    assert queued["note"] == "NEVER_FITS: needs 64 cores, the largest node has 2"
    assert table.loc[filled.runs["failed"]]["note"].startswith("diverged: ")


def test_the_filters_of_the_runs_page_narrow_the_table(pages: Pages) -> None:
    app = pages.open("runs")
    app.selectbox("runs_kind").select("benchmark").run()
    assert set(app.dataframe[0].value["kind"]) == {"benchmark"}
    app.text_input("runs_text").input("ghost").run()
    assert set(app.dataframe[0].value["what"]) == {"resnet18(stem=small)/ghost"}
    app.text_input("runs_owner").input("nobody").run()
    assert "No run matches" in said(app)


def test_a_finished_run_shows_curves_scores_log_and_how_to_repeat_it(
    pages: Pages, filled: Filled
) -> None:
    app = pages.open("run", run=str(filled.runs["done"]))
    assert not app.exception
    assert app.title[0].value == f"Run {filled.runs['done']}"
    assert len(app.get("plotly_chart")) == 3
    text = said(app)
    assert "epoch 5: top-1" in text
    assert f"platform submit classify --file run-{filled.runs['done']}.json" in text
    assert "git checkout 0123abc" in text
    assert {metric.label: metric.value for metric in app.metric}["Top-1"] == "96.40 %"


def test_a_resumed_run_shows_both_attempts(pages: Pages, filled: Filled) -> None:
    app = pages.open("run", run=str(filled.runs["resumed"]))
    attempts = next(table.value for table in app.dataframe if "Outcome" in table.value)
    assert attempts["Outcome"].isna().tolist() == [False, True]
    assert list(attempts["From step"].dropna()) == [80]


def test_a_failed_run_says_why(pages: Pages, filled: Filled) -> None:
    app = pages.open("run", run=str(filled.runs["failed"]))
    assert "loss is nan at step 31" in app.error[0].value


def test_a_benchmark_run_shows_what_it_measured(pages: Pages, filled: Filled) -> None:
    app = pages.open("run", run=str(filled.runs["measured"]))
    assert not app.exception
    measured = next(table.value for table in app.dataframe if "p99_ms" in table.value)
    assert list(measured["repeats"]) == [60, 60]


def test_a_waiting_run_says_why_it_waits(pages: Pages, filled: Filled) -> None:
    app = pages.open("run", run=str(filled.runs["queued"]))
    assert not app.exception
    assert "NEVER_FITS" in said(app)


@pytest.mark.parametrize("number", ["9999", "abc", "-1"])
def test_a_run_that_is_not_there_leads_back_to_the_list(pages: Pages, number: str) -> None:
    app = pages.open("run", run=number)
    assert not app.exception
    assert number in app.warning[0].value
