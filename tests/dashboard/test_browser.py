"""The dashboard in a real browser, over a store that real runs filled."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from convoy.leaderboard.rows import Group, leaderboard
from convoy.records import Filter, Run
from convoy.settings import load
from convoy.states import RunState
from convoy.store import Store
from dashboard.board import method_name
from dashboard.formats import TIMES
from dashboard.screenshots import browsing, settle, visit
from dashboard.server import serving
from tests.dashboard import filling, running
from tests.dashboard.conftest import store_of
from tests.dashboard.running import WAREHOUSES

pytestmark = pytest.mark.browser

WAIT_MS = 20_000
ROW_PX = 35


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation with finished runs: ``CONVOY_TEST_HOME``, else one that is made here."""
    if named := os.environ.get("CONVOY_TEST_HOME"):
        return Path(named)
    made = tmp_path_factory.mktemp("real")
    subprocess.run([sys.executable, running.__file__, str(made)], check=True, timeout=600)
    return made


@pytest.fixture(scope="module")
def runs(home: Path) -> list[Run]:
    """All runs of it, newest first."""
    store = Store.open(load({"CONVOY_HOME": str(home)}).store_url)
    found = store.runs(Filter(), limit=10_000)
    store.close()
    return found


@pytest.fixture(scope="module")
def best(runs: list[Run]) -> Group:
    """The first group of its leaderboard."""
    return leaderboard([run for run in runs if run.state is RunState.SUCCEEDED])[0]


@pytest.fixture(scope="module")
def site(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its dashboard."""
    with serving(home, log=tmp_path_factory.mktemp("site") / "log") as address:
        yield address


@pytest.fixture(scope="module")
def browser_page(chromium: str) -> Iterator[Page]:
    """One page of one browser for all tests here; starting one takes a while."""
    with browsing(chromium) as page:
        expect.set_options(timeout=WAIT_MS)
        yield page


@pytest.fixture
def page(browser_page: Page) -> Iterator[Page]:
    """It, on nothing; afterwards no exception may be in sight."""
    browser_page.goto("about:blank")
    yield browser_page
    expect(browser_page.get_by_test_id("stException")).to_have_count(0)


def cells(table: Locator) -> list[list[str]]:
    """The cells of a table, from the accessible grid that Streamlit keeps in its canvas."""
    rows: list[list[str]] = table.locator("[role=grid] tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return rows


def first_table(page: Page) -> Locator:
    """The first table in sight."""
    return page.get_by_test_id("stDataFrame").first


def choose(page: Page, label: str, option: str) -> None:
    """Choose an option of a filter."""
    field = page.get_by_role("combobox", name=label)
    field.scroll_into_view_if_needed()  # else the click scrolls, and that closes the list
    field.click()
    page.get_by_role("option", name=option, exact=True).click()
    settle(page)


def test_the_leaderboard_shows_its_rows(page: Page, site: str, best: Group) -> None:
    visit(page, site)
    shown = cells(first_table(page))
    assert [row[1] for row in shown] == [row.backbone for row in best.rows]
    assert [int(row[0]) for row in shown] == [row.rank for row in best.rows]


def test_a_filter_narrows_the_leaderboard(page: Page, site: str, best: Group) -> None:
    visit(page, site)
    wanted = best.rows[-1]
    choose(page, "Method", method_name(wanted))
    left = [row.backbone for row in best.rows if method_name(row) == method_name(wanted)]
    expect(first_table(page).locator("[role=grid] tbody tr")).to_have_count(len(left))
    assert [row[1] for row in cells(first_table(page))] == left


@pytest.mark.parametrize("cost", ["Parameters", "Multiply-adds", "Latency"])
def test_the_trade_off_is_drawn_against_each_cost(
    page: Page, site: str, best: Group, cost: str
) -> None:
    visit(page, site)
    _press(page, cost)
    chart = page.get_by_test_id("stPlotlyChart").first
    expect(chart.locator(".xtitle")).to_have_text(re.compile(cost))
    labels = chart.locator(".textpoint")
    expect(labels).to_have_count(len(best.rows))
    assert {str(label) for label in labels.all_text_contents()} == {
        row.backbone.split("/")[1] for row in best.rows
    }
    expect(chart.locator(".scatterlayer .js-line").first).to_be_attached()


def test_a_row_leads_to_its_runs(page: Page, site: str, best: Group) -> None:
    visit(page, site)
    _click_row(page, 0)
    top = best.rows[0]
    assert top.accuracy is not None
    number = next(iter(top.accuracy.runs.values()))
    page.get_by_role("link", name=re.compile(rf"Run {number} \(")).click()
    expect(page.get_by_role("heading", name=f"Run {number}", exact=True)).to_be_visible()
    assert urlsplit(page.url).query == f"run={number}"


def test_the_runs_are_listed_and_filtered(page: Page, site: str, runs: list[Run]) -> None:
    visit(page, f"{site}/runs")
    assert [int(row[1]) for row in cells(first_table(page))] == [run.id for run in runs[:50]]
    choose(page, "Kind", "benchmark")
    wanted = [run.id for run in runs if run.kind == "benchmark"][:50]
    expect(first_table(page).locator("[role=grid] tbody tr")).to_have_count(len(wanted))
    assert [int(row[1]) for row in cells(first_table(page))] == wanted


def test_a_click_on_a_run_opens_its_page(page: Page, site: str, runs: list[Run]) -> None:
    visit(page, f"{site}/runs")
    _click_row(page, 1)
    heading = page.get_by_role("heading", name=f"Run {runs[1].id}", exact=True)
    expect(heading).to_be_visible()


def test_a_sorted_table_leads_to_the_run_that_was_clicked(
    page: Page, site: str, runs: list[Run]
) -> None:
    visit(page, f"{site}/runs")
    _click_row(page, -1, x=115)  # the heading of the runs' numbers: sorts by them
    ascending = sorted(run.id for run in runs[:50])
    numbers = first_table(page).locator("[role=grid] tbody td:nth-child(2)")
    expect(numbers).to_have_text([str(number) for number in ascending])
    _click_row(page, 1)
    heading = page.get_by_role("heading", name=f"Run {ascending[1]}", exact=True)
    expect(heading).to_be_visible()


def test_a_run_shows_its_curves_and_its_log(page: Page, site: str, runs: list[Run]) -> None:
    trained = next(run for run in runs if run.kind == "classify" and run.result)
    visit(page, f"{site}/run?run={trained.id}")
    titles = page.locator(".gtitle").all_text_contents()
    assert {"Loss", "Accuracy (%)", "Learning rate"} <= set(titles)
    expect(page.locator(".scatterlayer .js-line").first).to_be_attached()
    expect(page.get_by_role("heading", name="Log")).to_be_visible()
    expect(page.get_by_test_id("stCode").first).to_contain_text(re.compile(r"\w"))


def test_a_run_shows_where_its_kernels_start_and_what_they_draw_on(
    page: Page, site: str, runs: list[Run]
) -> None:
    _open_attention(page, site, runs)
    _show_attention(page)
    maps = _heat_maps(page)
    expect(maps).to_have_count(3)
    expect(maps.first.locator(".heatmaplayer image")).to_have_count(2)
    expect(maps.first.locator(".infolayer")).to_contain_text("Start-up assignment (beta)")
    expect(maps.first.locator(".infolayer")).to_contain_text("Attention (alpha), temperature 0")
    layers = maps.first.locator(".yaxislayer-above text")
    expect(layers.first).to_have_text("layer1.0.conv1")
    expect(layers.last).to_have_text("layer2.0.downsample.0")
    expect(page.get_by_text(re.compile("raw weights · mean of 16 images"))).to_be_visible()
    maps.first.locator(".nsewdrag").last.hover()  # what lies above the picture takes the mouse
    expect(maps.first.locator(".hoverlayer")).to_contain_text(
        re.compile(r"± .*mixture \d+ of layer")
    )


def test_a_run_shows_its_attention_over_an_image_that_was_sent(
    page: Page, site: str, runs: list[Run], home: Path
) -> None:
    image = next((home / "cache" / "digits" / "val" / "5").iterdir())
    _open_attention(page, site, runs)
    _press(page, "Own images")
    expect(page.get_by_role("button", name="Show attention")).to_be_disabled()
    page.locator("input[type=file]").set_input_files(image)
    page.get_by_text("Temperature of that step").click()
    _show_attention(page)
    expect(page.get_by_text(re.compile(f"raw weights · {image.name}"))).to_be_visible()
    # after two of twenty epochs
    expect(_heat_maps(page).first.locator(".infolayer")).to_contain_text("temperature 0.9")


def test_a_file_that_is_no_image_is_named_on_the_page(
    page: Page, site: str, runs: list[Run], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    _open_attention(page, site, runs)
    _press(page, "Own images")
    page.locator("input[type=file]").set_input_files(broken)
    _show_attention(page)
    alert = page.get_by_test_id("stAlert")
    expect(alert).to_contain_text("broken.png cannot be read as an image: not an image")


def test_a_run_shows_its_maps_and_how_alike_they_are(
    page: Page, site: str, runs: list[Run]
) -> None:
    _open_features(page, site, runs)
    _show_maps(page)
    expect(page.get_by_text("raw weights · over 16 images")).to_be_visible()
    expect(_metric(page, "Maps")).to_have_text(f"64 of 8 {TIMES} 8")
    expect(_metric(page, "Repeated")).to_have_text(re.compile(r"^\d+\.\d %$"))
    square, pairs, maps = (_heat_maps(page).nth(index) for index in range(3))
    expect(square.locator(".xtitle")).to_have_text("channels, like ones side by side")
    expect(pairs.locator(".annotation")).to_have_count(24)
    expect(pairs.locator(".annotation").nth(1)).to_have_text(re.compile(r"^\d+ \(-?[01]\.\d{3}\)$"))
    expect(maps.locator(".annotation")).to_have_count(64)
    assert sorted(map(int, maps.locator(".annotation").all_text_contents())) == list(range(64))
    maps.locator(".nsewdrag").hover(position={"x": 36, "y": 50})
    expect(maps.locator(".hoverlayer")).to_contain_text(
        re.compile(r"channel \d+.*nearest: channel")
    )


def test_a_stage_is_chosen_and_its_channels_are_paged(
    page: Page, site: str, runs: list[Run]
) -> None:
    _open_features(page, site, runs)
    _show_maps(page)
    _press(page, "By number")
    choose(page, "Stage", "2")
    choose(page, "Block", "0 (layer3.0)")
    expect(_metric(page, "Maps")).to_have_text(f"256 of 2 {TIMES} 2")
    _press(page, "Correlation")
    expect(page.get_by_text("Correlation of each two maps")).to_be_visible()
    pager = page.get_by_role("spinbutton", name="Page of 4")
    pager.fill("2")
    pager.press("Enter")
    settle(page)
    first = _heat_maps(page).last.locator(".annotation").first
    expect(first).to_have_text("64")


def test_maps_of_a_single_position_are_said_to_tell_nothing(
    page: Page, site: str, runs: list[Run], home: Path
) -> None:
    image = next((home / "cache" / "digits" / "val" / "5").iterdir())
    _open_features(page, site, runs)
    _press(page, "Own images")
    expect(page.get_by_role("button", name="Show maps")).to_be_disabled()
    page.locator("input[type=file]").set_input_files(image)
    _show_maps(page)
    expect(page.get_by_text(f"raw weights · {image.name}")).to_be_visible()
    choose(page, "Stage", "3")
    expect(_metric(page, "Maps")).to_have_text(f"512 of 1 {TIMES} 1")
    expect(_metric(page, "Dead")).to_have_text("512")
    expect(page.get_by_test_id("stAlert")).to_contain_text("Fewer than two maps vary")
    expect(_heat_maps(page)).to_have_count(1)


def test_a_file_that_shows_no_maps_is_named_on_the_page(
    page: Page, site: str, runs: list[Run], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    _open_features(page, site, runs)
    _press(page, "Own images")
    page.locator("input[type=file]").set_input_files(broken)
    _show(page, "Show maps")
    alert = page.get_by_test_id("stAlert")
    expect(alert).to_contain_text("broken.png cannot be read as an image: not an image")


def test_pages_ask_nobody_but_the_server(page: Page, site: str) -> None:
    hosts: set[str | None] = set()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    for path in ("", "runs", "run"):
        visit(page, f"{site}/{path}")
    assert hosts - {None} == {"127.0.0.1"}


def test_pages_follow_the_store_without_a_reload(
    page: Page, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = store_of(tmp_path)
    term = filling.lead(store)
    backbone = next(iter(filling.ENTRIES))
    with serving(tmp_path, log=tmp_path_factory.mktemp("live") / "log") as address:
        visit(page, f"{address}/runs")
        expect(page.get_by_test_id("stCode")).to_contain_text("platform submit")
        number = filling.classify(store, term, backbone=backbone, seed=0)
        expect(first_table(page).locator("[role=grid] tbody tr")).to_have_count(1)
        assert int(cells(first_table(page))[0][1]) == number
    store.close()


def test_the_page_of_a_run_follows_it_to_its_end(
    page: Page, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = store_of(tmp_path)
    run = filling.submit(store, backbone=next(iter(filling.ENTRIES)), seed=0)
    attempt = filling.start(store, run, filling.lead(store))
    with serving(tmp_path, log=tmp_path_factory.mktemp("live") / "log") as address:
        visit(page, f"{address}/run?run={run.id}")
        filling.train(store, attempt, steps=range(1, 121), top1_pct=97.0)
        expect(page.get_by_test_id("stProgress")).to_contain_text("step 120 of 200")
        expect(page.get_by_test_id("stPlotlyChart")).to_have_count(3)
        filling.finish(store, run, attempt, top1_pct=97.0)
        expect(page.get_by_role("heading", name="Result")).to_be_visible()
        expect(page.get_by_test_id("stProgress")).to_have_count(0)
    store.close()


def _press(page: Page, choice: str) -> None:
    """Press one of several buttons that exclude each other."""
    radio, button = (page.get_by_role(role, name=choice) for role in ("radio", "button"))
    radio.or_(button).first.click()


def _open_attention(page: Page, site: str, runs: list[Run]) -> None:
    """Open the page of a run whose layers share warehouses."""
    run = next(run for run in runs if run.backbone == WAREHOUSES and run.kind == "classify")
    visit(page, f"{site}/run?run={run.id}")
    expect(page.get_by_role("heading", name="Attention", exact=True)).to_be_visible()


def _open_features(page: Page, site: str, runs: list[Run]) -> None:
    """Open the page of a run of the plain network, which has no other section on its network."""
    plain = "resnet18(stem=small)/conv"
    run = next(run for run in runs if run.backbone == plain and run.kind == "classify")
    visit(page, f"{site}/run?run={run.id}")
    expect(page.get_by_role("heading", name="Feature maps")).to_be_visible()


def _show_maps(page: Page) -> None:
    """Ask for the maps and wait for all three plots: a field that is used before is drawn anew."""
    _show(page, "Show maps")
    expect(_heat_maps(page)).to_have_count(3)


def _metric(page: Page, name: str) -> Locator:
    """The value of a figure on the section on feature maps."""
    label = page.get_by_test_id("stMetricLabel").get_by_text(name, exact=True)
    return page.get_by_test_id("stMetric").filter(has=label).get_by_test_id("stMetricValue")


def _show_attention(page: Page) -> None:
    _show(page, "Show attention")


def _show(page: Page, name: str) -> None:
    """Press a button that runs a network; the first time loads torch."""
    button = page.get_by_role("button", name=name)
    expect(button).to_be_enabled()
    button.click()
    spinner = page.get_by_test_id("stSpinner")
    expect(spinner).to_have_count(0, timeout=4 * WAIT_MS)
    settle(page)


def _heat_maps(page: Page) -> Locator:
    charts = page.get_by_test_id("stPlotlyChart")
    return charts.filter(has=page.locator(".heatmaplayer image"))


def _click_row(page: Page, number: int, *, x: float = 200) -> None:
    """Click into a row of the first table; the cells are drawn, so by where they are."""
    canvas = first_table(page).get_by_test_id("data-grid-canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + x, box["y"] + ROW_PX * (number + 1.5))
    settle(page)
