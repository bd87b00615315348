"""A filled store for the pages, and the dashboard served from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from convoy.settings import load
from convoy.store import Store
from dashboard.server import APP
from tests.dashboard import detectors
from tests.dashboard.filling import fill


@dataclass(frozen=True)
class Filled:
    """An installation with runs of every sort.

    Attributes:
        home: Its folder.
        runs: Number of one run of each sort, as `filling.fill` and `detectors.fill` name them.
    """

    home: Path
    runs: dict[str, int]


def store_of(home: Path) -> Store:
    """Make the store of an installation."""
    return Store.create(load({"CONVOY_HOME": str(home)}).store_url)


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    """A store that holds runs of every sort; nothing writes to it any more."""
    home = tmp_path_factory.mktemp("filled")
    store = store_of(home)
    runs = fill(store) | detectors.fill(store)
    store.close()
    return Filled(home, runs)


@pytest.fixture
def forgetful() -> Iterator[None]:
    """Let no test see the store that another one opened."""
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


class Pages:
    """The dashboard of one installation, drawn without a browser."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CONVOY_HOME", str(home))

    def open(self, page: str = "", **query: str) -> AppTest:
        """Draw a page: ``""`` is the first one, else the name of a file in ``views``."""
        app = AppTest.from_file(str(APP), default_timeout=30)
        for name, value in query.items():
            app.query_params[name] = value
        if page:
            app.switch_page(f"views/{page}.py")
        return app.run()


@pytest.fixture
def pages(filled: Filled, monkeypatch: pytest.MonkeyPatch, forgetful: None) -> Pages:
    """The pages over the filled store."""
    return Pages(filled.home, monkeypatch)


@pytest.fixture
def empty_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgetful: None) -> Pages:
    """The pages over a store without a run."""
    store_of(tmp_path).close()
    return Pages(tmp_path, monkeypatch)
