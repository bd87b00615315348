"""Another task on the leaderboard, in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from dashboard.screenshots import browsing, settle, visit
from dashboard.server import serving
from tests.dashboard import detectors
from tests.dashboard.conftest import Filled

pytestmark = pytest.mark.browser

WAIT_MS = 20_000
ROW_PX = 35


def test_the_first_click_after_another_task_leads_to_the_row(
    chromium: str, filled: Filled, tmp_path: Path
) -> None:
    with serving(filled.home, log=tmp_path / "log") as site, browsing(chromium) as page:
        expect.set_options(timeout=WAIT_MS)
        visit(page, site)
        page.get_by_role("combobox", name="Task").click()
        page.get_by_role("option", name="detect", exact=True).click()
        expect(page.locator(".ytitle").first).to_have_text("Mask AP (%)")
        settle(page)
        rows = page.get_by_test_id("stDataFrame").first
        expect(rows.locator("[role=grid] tbody tr")).to_have_count(len(detectors.MASKS))
        box = rows.get_by_test_id("data-grid-canvas").bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + 200, box["y"] + 1.5 * ROW_PX)
        expect(page.get_by_text(re.compile("mask AP 38.3 % · box AP 42.5 %"))).to_be_visible()
        expect(page.get_by_role("link", name=re.compile("seed 0"))).to_be_visible()
        expect(page.get_by_test_id("stException")).to_have_count(0)
