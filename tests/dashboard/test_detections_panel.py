"""The sections on what a detection run found: pictures, categories, another run beside."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from convoy.categories import Comparison, Line
from convoy.settings import load
from convoy.storage import RunPaths
from dashboard.panels import categories
from dashboard.screenshots import browsing, settle, visit
from dashboard.server import APP, serving
from tests.dashboard import detected, filling
from tests.dashboard.conftest import Pages, store_of

TITLE = "Predictions"
LOADED = f"""
import sys
from streamlit.testing.v1 import AppTest
app = AppTest.from_file({str(APP)!r}, default_timeout=30)
app.query_params["run"] = sys.argv[1]
app.switch_page("views/run.py").run()
assert not app.exception
assert {TITLE!r} in [title.value for title in app.subheader]
assert not {{"torch", "mmdet", "cv2"}} & set(sys.modules)
"""


@dataclass(frozen=True)
class Detected:
    """An installation with detection runs.

    Attributes:
        home: Its folder.
        masks, again: Two runs of one data set.
        boxes: Another one, of a detector without masks.
        elsewhere: On other images.
        broken: Whose pictures are gone.
        running: Still at work.
    """

    home: Path
    masks: int
    again: int
    boxes: int
    elsewhere: int
    broken: int
    running: int


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Detected:
    home = tmp_path_factory.mktemp("detected")
    split = detected.made_split(tmp_path_factory.mktemp("split"))
    settings, store = load({"CONVOY_HOME": str(home)}), store_of(home)
    where: dict[str, Any] = {"store": store, "settings": settings, "term": filling.lead(store)}
    runs = {
        "masks": detected.detect(**where, split=split, seed=1),
        "again": detected.detect(**where, split=split, seed=2, backbone="resnet50/eca"),
        "boxes": detected.detect(**where, split=split, seed=3, masks=False),
        "elsewhere": detected.detect(**where, split=split, seed=4, fingerprint="another"),
        "broken": detected.detect(**where, split=split, seed=5),
    }
    for picture in (home / "storage" / RunPaths(runs["broken"]).artifact(1, "samples")).iterdir():
        picture.unlink()
    run = filling.submit(store, backbone="resnet50/se", seed=0, kind="detect")
    filling.start(store, run, where["term"])
    store.close()
    return Detected(home, **runs, running=run.id)


@pytest.fixture
def pages(found: Detected, monkeypatch: pytest.MonkeyPatch, forgetful: None) -> Pages:
    """The pages over these runs."""
    return Pages(found.home, monkeypatch)


def titles(app: AppTest) -> list[str]:
    return [str(title.value) for title in app.subheader]


def bold(app: AppTest) -> list[str]:
    """What stands above the pictures."""
    found = [str(part.value).strip("*") for part in app.markdown]
    return [text for text in found if text.startswith(("Found by", "Ground truth"))]


def other_run(app: AppTest) -> Any:
    return next(field for field in app.selectbox if field.label == "Compare with")


def scores(app: AppTest) -> Any:
    return next(table.value for table in app.dataframe if "objects" in table.value)


def test_a_detection_run_has_pictures_and_categories(pages: Pages, found: Detected) -> None:
    app = pages.open("run", run=str(found.masks))
    assert not app.exception
    assert {TITLE, "Categories"} <= set(titles(app))
    assert bold(app) == [f"Found by run {found.masks}", "Ground truth"]
    table = scores(app)
    assert set(table["category"]) == {"cat", "dog", "absent"}
    assert list(table["category"])[-1] == "absent"  # nothing of it is there to be found
    assert list(table["value"].dropna()) == sorted(table["value"].dropna(), reverse=True)
    assert not {"mask_ap_pct", "beside"} & set(table)


def test_only_runs_that_were_scored_on_the_same_images_are_offered(
    pages: Pages, found: Detected
) -> None:
    options = other_run(pages.open("run", run=str(found.masks))).options
    assert [option.split(":")[0] for option in options] == [
        "no other run",
        *(f"Run {number}" for number in (found.broken, found.boxes, found.again)),
    ]
    assert options[-1] == f"Run {found.again}: resnet50/eca seed 2, mask_rcnn, coco_1x"
    assert other_run(pages.open("run", run=str(found.elsewhere))).disabled


def test_another_run_stands_beside(pages: Pages, found: Detected) -> None:
    app = pages.open("run", run=str(found.masks))
    other_run(app).set_value(found.again).run()
    assert not app.exception
    assert bold(app) == [*(f"Found by run {n}" for n in (found.masks, found.again)), "Ground truth"]
    table = scores(app).dropna(subset="value")
    assert list(table["difference"]) == pytest.approx(list(table["value"] - table["beside"]))
    assert any("higher Mask AP than run" in caption.value for caption in app.caption)


def test_runs_of_which_one_has_no_masks_are_compared_by_their_boxes(
    pages: Pages, found: Detected
) -> None:
    app = pages.open("run", run=str(found.masks))
    other_run(app).set_value(found.boxes).run()
    assert not app.exception
    table = scores(app)
    assert "box_ap_pct" not in table  # it is what the categories are ranked by
    assert "mask_ap_pct" in table
    assert any("higher Box AP than run" in caption.value for caption in app.caption)


def test_images_are_turned_and_after_the_last_comes_the_first(
    pages: Pages, found: Detected
) -> None:
    app = pages.open("run", run=str(found.masks))
    for name, place in (("Next image", 1), ("Previous image", 0), ("Previous image", 5)):
        next(button for button in app.button if button.label == name).click().run()
        assert next(field for field in app.selectbox if field.label == "Image").value == place
    assert not app.exception


def test_pictures_that_are_gone_are_named_and_the_categories_stay(
    pages: Pages, found: Detected
) -> None:
    app = pages.open("run", run=str(found.broken))
    assert not app.exception
    assert f"of run {found.broken} is gone" in app.error[0].value
    assert "Categories" in titles(app)


def test_a_run_without_scores_by_category_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgetful: None
) -> None:
    settings, store = load({"CONVOY_HOME": str(tmp_path)}), store_of(tmp_path)
    split = detected.made_split(tmp_path)
    run = detected.detect(store, settings, filling.lead(store), split=split, rows=False)
    store.close()
    app = Pages(tmp_path, monkeypatch).open("run", run=str(run))
    assert not app.exception
    assert any("has no scores by category" in caption.value for caption in app.caption)


def test_a_run_that_goes_on_says_when_there_will_be_pictures(pages: Pages, found: Detected) -> None:
    app = pages.open("run", run=str(found.running))
    assert not app.exception
    assert any("appear with the result" in caption.value for caption in app.caption)


def test_the_head_of_the_page_says_how_good_the_detector_is(pages: Pages, found: Detected) -> None:
    app = pages.open("run", run=str(found.masks))
    values = [metric.value for metric in app.metric]
    table = next(part.value for part in app.dataframe if "Score" in part.value)
    precision = table[table["Score"].str.lower() == "mask ap"]["Value"].iloc[0]
    assert precision in values


def test_a_result_of_categories_is_no_table_of_latencies(pages: Pages, found: Detected) -> None:
    app = pages.open("run", run=str(found.masks))
    assert not any("p50_ms" in table.value for table in app.dataframe)


def test_the_page_opens_without_torch(pages: Pages, found: Detected) -> None:
    subprocess.run([sys.executable, "-c", LOADED, str(found.masks)], check=True)


def test_eighty_categories_have_a_line_each_in_the_plot() -> None:
    lines = [Line({"category": f"c{n}"}, float(80 - n), beside=float(n)) for n in range(80)]
    empty = Line({"category": "absent"}, None)
    drawing = categories.figure(Comparison(1, 2, "box_ap_pct", (*lines, empty)))
    _, other, own = drawing.data
    assert list(own.y) == [f"c{number}" for number in range(80)]
    assert list(own.x) == [80.0 - number for number in range(80)]
    assert list(other.x) == [float(number) for number in range(80)]
    assert drawing.layout.yaxis.dtick == 1


def test_categories_that_are_called_by_numbers_stand_in_their_order() -> None:
    lines = [Line({"category": str(n)}, float(value)) for n, value in ((7, 9), (0, 5), (3, 1))]
    drawing = categories.figure(Comparison(1, None, "mask_ap_pct", tuple(lines)))
    assert drawing.layout.yaxis.type == "category"
    assert list(drawing.layout.yaxis.categoryarray) == ["7", "0", "3"]


@pytest.fixture(scope="module")
def page(
    found: Detected, chromium: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    log = tmp_path_factory.mktemp("site") / "log"
    with serving(found.home, log=log) as address, browsing(chromium) as browser_page:
        expect.set_options(timeout=20_000)
        visit(browser_page, f"{address}/run?run={found.masks}")
        yield browser_page
        expect(browser_page.get_by_test_id("stException")).to_have_count(0)


@pytest.mark.browser
def test_pictures_are_seen_turned_and_compared_in_a_browser(page: Page, found: Detected) -> None:
    pictures = page.get_by_test_id("stImage").locator("img")
    expect(pictures).to_have_count(2)
    first = pictures.first.get_attribute("src")
    page.get_by_role("button", name="Next image").click()
    expect(pictures.first).not_to_have_attribute("src", str(first))
    field = page.get_by_role("combobox", name="Compare with")
    field.scroll_into_view_if_needed()
    field.click()
    page.get_by_role("option", name=f"Run {found.again}:").click()
    expect(pictures).to_have_count(3)
    settle(page)
    widths = pictures.evaluate_all("images => images.map(image => image.naturalWidth)")
    assert len(set(widths)) == 1
    assert widths[0] > 300
    named = page.locator(".yaxislayer-above text")
    expect(named).to_have_count(2)
    assert sorted(named.all_text_contents()) == ["cat", "dog"]
    expect(page.locator(".legendtext")).to_have_text([f"run {found.again}", f"run {found.masks}"])
