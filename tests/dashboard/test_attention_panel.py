"""The section on attention, without a browser."""

from __future__ import annotations

import subprocess
import sys

from convoy.records import Filter
from convoy.settings import load
from convoy.store import Store
from dashboard.server import APP
from tests.dashboard.conftest import Filled, Pages

WAREHOUSES = "resnet18(stem=small)/kernel_warehouse(budget=4)"
TITLE = "Attention"
LOADED = f"""
import sys
from streamlit.testing.v1 import AppTest
app = AppTest.from_file({str(APP)!r}, default_timeout=30)
app.query_params["run"] = sys.argv[1]
app.switch_page("views/run.py").run()
assert not app.exception
assert {TITLE!r} in [title.value for title in app.subheader]
assert "torch" not in sys.modules
"""


def warehouse_run(filled: Filled) -> str:
    with Store.open(load({"CONVOY_HOME": str(filled.home)}).store_url) as store:
        return str(store.runs(Filter(kind="classify", text=WAREHOUSES), limit=1)[0].id)


def test_a_run_that_weighs_nothing_has_no_such_section(pages: Pages, filled: Filled) -> None:
    app = pages.open("run", run=str(filled.runs["done"]))  # of the plain network
    assert not app.exception
    assert TITLE not in [title.value for title in app.subheader]


def test_the_page_opens_without_torch(pages: Pages, filled: Filled) -> None:
    subprocess.run([sys.executable, "-c", LOADED, warehouse_run(filled)], check=True)


def test_what_cannot_be_shown_is_said_in_words(pages: Pages, filled: Filled) -> None:
    app = pages.open("run", run=warehouse_run(filled))
    button = next(button for button in app.button if button.label == "Show attention")
    button.click().run()
    assert not app.exception
    assert "recipe" in app.error[0].value  # this store's specs are not whole
