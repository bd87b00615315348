"""The section on feature maps, without a browser."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dashboard.server import APP
from tests.dashboard.conftest import Filled, Pages

TITLE = "Feature maps"
LOADED = f"""
import sys
from streamlit.testing.v1 import AppTest
app = AppTest.from_file({str(APP)!r}, default_timeout=30)
app.query_params["run"] = sys.argv[1]
app.switch_page("views/run.py").run()
assert not app.exception
assert {TITLE!r} in [title.value for title in app.subheader]
assert not {{"torch", "sklearn"}} & set(sys.modules)
"""


@pytest.mark.parametrize(
    ("sort", "has_section"), [("done", True), ("failed", True), ("measured", False)]
)
def test_training_runs_have_the_section(
    pages: Pages, filled: Filled, sort: str, has_section: bool
) -> None:
    app = pages.open("run", run=str(filled.runs[sort]))
    assert not app.exception
    assert (TITLE in [title.value for title in app.subheader]) is has_section


def test_a_run_without_a_checkpoint_says_so(pages: Pages, filled: Filled) -> None:
    app = pages.open("run", run=str(filled.runs["queued"]))
    assert not app.exception
    assert "Show maps" not in [button.label for button in app.button]
    assert any("No checkpoint is kept" in caption.value for caption in app.caption)


def test_the_page_opens_without_torch(pages: Pages, filled: Filled) -> None:
    subprocess.run([sys.executable, "-c", LOADED, str(filled.runs["done"])], check=True)


def test_what_cannot_be_shown_is_said_in_words(pages: Pages, filled: Filled) -> None:
    app = pages.open("run", run=str(filled.runs["done"]))
    button = next(button for button in app.button if button.label == "Show maps")
    button.click().run()
    assert not app.exception
    assert "recipe" in app.error[0].value  # this store's specs are not whole
