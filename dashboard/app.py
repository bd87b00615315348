"""The script that Streamlit runs: lays out the pages. Start it with ``platform dashboard``."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard.opened import explained

# A file, since the browser would fetch a Material icon from elsewhere.
ICON = Path(__file__).with_name("icon.svg")

st.set_page_config(page_title="Convoy", page_icon=str(ICON), layout="wide")
page = st.navigation(
    [
        st.Page(
            "views/leaderboard.py",
            title="Leaderboard",
            icon=":material/leaderboard:",
            default=True,
            help="Backbones ranked by accuracy, with their cost, among rows measured alike.",
        ),
        st.Page(
            "views/runs.py",
            title="Runs",
            icon=":material/list:",
            url_path="runs",
            help="Every run with its state, progress and why it waits.",
        ),
        st.Page(
            "views/run.py",
            title="Run",
            icon=":material/show_chart:",
            url_path="run",
            help="One run: curves, result, log, attempts, spec and files.",
        ),
    ],
    position="top",
)
with explained():
    page.run()
