"""Takes the pictures of the README: ``python -m dashboard.screenshots --home .convoy``."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import FloatRect, Locator, Page, sync_playwright

from convoy.detections import KIND as DETECT
from convoy.inspection import can_attend
from convoy.records import Filter, Run
from convoy.settings import load
from convoy.states import RunState
from convoy.store import Store
from dashboard.server import serving

WIDTH_PX = 1400
PICTURES = Path(__file__).with_name("pictures")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
"""Works in a container, as root, and calls nobody."""

_TORCH_MS = 120_000
_EDGE_PX = 16


@contextmanager
def browsing(executable: str, *, scheme: Literal["light", "dark"] = "light") -> Iterator[Page]:
    """Open a page in a headless browser.

    Args:
        executable: Path of a Chromium.
        scheme: What the user's system prefers.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(QUIET))
        page = browser.new_page(
            viewport={"width": WIDTH_PX, "height": 900}, color_scheme=scheme, locale="en-GB"
        )
        try:
            yield page
        finally:
            browser.close()


def visit(page: Page, address: str) -> None:
    """Go to a page of the dashboard and wait until all of it is drawn."""
    page.goto(address)
    settle(page)


def settle(page: Page) -> None:
    """Wait until the script has run, plots and tables are drawn and fonts are there."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    page.locator("[data-testid=stMain] h1").first.wait_for()
    page.wait_for_function(
        """() => [...document.querySelectorAll('[data-testid=stPlotlyChart]')]
            .every(chart => !chart.offsetParent || chart.querySelector('svg.main-svg'))
        && [...document.querySelectorAll('[data-testid=stDataFrame]')]
            .every(table => !table.offsetParent || table.querySelector('[role=grid]'))
        && !document.querySelector('[data-testid=stSkeleton]')
        && document.fonts.status === 'loaded'"""
    )


def picture(page: Page, file: Path) -> None:
    """Save the whole page, however long it is."""
    height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": WIDTH_PX, "height": max(600, int(height))})
    settle(page)
    file.parent.mkdir(parents=True, exist_ok=True)
    page.mouse.move(0, 0)
    page.screenshot(path=file, animations="disabled")


def show_attention(page: Page) -> None:
    """Press the button of the section on attention, and wait until its maps are drawn."""
    _show(page, "Show attention")


def show_features(page: Page) -> None:
    """Press the button of the section on feature maps, and wait until they are drawn."""
    _show(page, "Show maps")


def _show(page: Page, button: str) -> None:
    page.get_by_role("button", name=button).click()
    # the first time loads torch
    page.locator(".heatmaplayer image").first.wait_for(timeout=_TORCH_MS)
    page.get_by_test_id("stSpinner").first.wait_for(state="detached")
    settle(page)


def attention_picture(page: Page, file: Path) -> None:
    """Save the section on attention down to its first maps."""
    show_attention(page)
    picture(page, file)
    _save_section(page, file, heading="Attention", last=_charts(page).first)


def features_picture(page: Page, file: Path) -> None:
    """Save the section on feature maps."""
    show_features(page)
    picture(page, file)
    _save_section(page, file, heading="Feature maps", last=_charts(page).last)


def detections_picture(page: Page, file: Path) -> None:
    """Save the sections on what a detection run found, beside another run where there is one."""
    others = page.get_by_role("combobox", name="Compare with")
    if others.is_enabled():
        others.scroll_into_view_if_needed()  # else the click scrolls, and that closes the list
        others.click()
        page.get_by_role("option").nth(1).click()
        page.get_by_test_id("stImage").nth(2).wait_for()
        settle(page)
    picture(page, file)
    parts = [page.get_by_test_id(name).last for name in ("stPlotlyChart", "stDataFrame")]
    _save_section(page, file, heading="Predictions", last=max(parts, key=_bottom))


def _bottom(part: Locator) -> float:
    box = part.bounding_box()
    return box["y"] + box["height"] if box else 0.0


def _charts(page: Page) -> Locator:
    """The heat maps of a page."""
    charts = page.get_by_test_id("stPlotlyChart")
    return charts.filter(has=page.locator(".heatmaplayer image"))


def _save_section(page: Page, file: Path, *, heading: str, last: Locator) -> None:
    """Save a page from a heading down to something below it."""
    title = page.get_by_role("heading", name=heading, exact=True).bounding_box()
    end = last.bounding_box()
    if title is None or end is None:
        raise RuntimeError(f"the section {heading!r} is not in sight")
    top = title["y"] - _EDGE_PX
    height = end["y"] + end["height"] + _EDGE_PX - top
    clip: FloatRect = {"x": 0, "y": top, "width": WIDTH_PX, "height": height}
    page.screenshot(path=file, clip=clip, animations="disabled")


def pages(store: Store) -> Mapping[str, str]:
    """Return file name to address of each page; the run is the newest one with curves."""
    chosen = _with_curves(store)
    return {
        "leaderboard": "",
        "runs": "runs",
        "run": f"run?run={chosen.id}" if chosen else "run",
    }


def _with_curves(store: Store) -> Run | None:
    for states in ((RunState.SUCCEEDED,), ()):
        found = store.runs(Filter(states=states, kind="classify"), limit=1)
        if found:
            return found[0]
    return None


def _with_detections(store: Store) -> Run | None:
    return next(iter(store.runs(Filter(states=(RunState.SUCCEEDED,), kind=DETECT), limit=1)), None)


def _with_attention(store: Store) -> Run | None:
    return next(filter(can_attend, store.runs(Filter(states=(RunState.SUCCEEDED,)))), None)


def main(arguments: Sequence[str] | None = None) -> None:
    """Take one picture a page."""
    parser = argparse.ArgumentParser(prog="dashboard.screenshots", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder of the installation")
    parser.add_argument("--into", type=Path, default=PICTURES, help="folder of the pictures")
    parser.add_argument("--scheme", choices=("light", "dark"), default="light")
    chosen = parser.parse_args(arguments)
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        parser.error(f"none of {', '.join(BROWSERS)} is on the PATH; infra/chromium installs one")
    store = Store.open(load({"CONVOY_HOME": str(chosen.home)}).store_url)
    try:
        wanted = pages(store)
        attentive, mapped = _with_attention(store), _with_curves(store)
        finding = _with_detections(store)
    finally:
        store.close()
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(chosen.home, log=Path(folder) / "log") as address,
    ):
        for name, path in wanted.items():
            with browsing(executable, scheme=chosen.scheme) as page:
                visit(page, f"{address}/{path}")
                picture(page, chosen.into / f"{name}.png")
        for run, name, save in (
            (attentive, "attention", attention_picture),
            (mapped, "features", features_picture),
            (finding, "detections", detections_picture),
        ):
            if run is not None:
                with browsing(executable, scheme=chosen.scheme) as page:
                    visit(page, f"{address}/run?run={run.id}")
                    save(page, chosen.into / f"{name}.png")


if __name__ == "__main__":
    main()
