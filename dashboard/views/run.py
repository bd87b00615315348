"""The page of one run: progress, curves, log, result, attempts, spec, files, and its network."""

from __future__ import annotations

import streamlit as st

from convoy.detections import has_detections
from convoy.errors import RunNotFoundError
from convoy.inspection import can_attend, has_maps
from convoy.records import Filter
from dashboard import opened, queries
from dashboard.panels import attention, details, detections, features, header, logs, plots

_REFRESH_S = 2


def show() -> None:
    """Draw the page of the run that the address names (``?run=12``)."""
    chosen = st.query_params.get("run", "")
    if not chosen:
        _ask()
        return
    if not chosen.isdecimal():
        raise RunNotFoundError(f"a run has a number, found {chosen!r} in the address")
    run_id = int(chosen)
    record = queries.record(opened.store(), run_id)
    live = not record.run.state.is_final
    st.fragment(_changing, run_every=_REFRESH_S if live else None)(run_id, live=live)
    details.draw(record)
    if has_detections(record.run):
        st.fragment(detections.draw)(run_id)
    if can_attend(record.run):
        st.fragment(attention.draw)(run_id)
    if has_maps(record.run):
        st.fragment(features.draw)(run_id)


def _ask() -> None:
    st.title("Run", anchor=False)
    latest = queries.listing(opened.store(), Filter(), limit=1, before=None).runs
    if not latest:
        st.info("No runs yet. Submit one:", icon=":material/inbox:")
        st.code(opened.FIRST_RUN, language="bash")
        return
    number = st.number_input("Number of the run", min_value=1, value=latest[0].id, width=240)
    if st.button("Open", type="primary"):
        st.query_params["run"] = str(number)
        st.rerun()


def _changing(run_id: int, *, live: bool) -> None:
    with opened.explained():
        store = opened.store()
        record = queries.record(store, run_id)
        header.draw(record)
        plots.draw(record, queries.series(store, run_id))
        logs.draw(store, record)
        if live and record.run.state.is_final:
            st.rerun()  # the lower part of the page changed as well


show()
