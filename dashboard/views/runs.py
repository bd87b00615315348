"""The page of runs: how many stand where, and a live table that leads to each run."""

from __future__ import annotations

import streamlit as st

from convoy.records import Filter
from convoy.states import RunState
from dashboard import opened, palette, queries, rows
from dashboard.clicks import clicked_row
from jobs.job import kinds

_PAGE = 50
_REFRESH_S = 3
_BEFORE, _FILTER = "runs_before", "runs_filter"


def show() -> None:
    """Draw the page."""
    st.title("Runs", anchor=False)
    _live()


def _trail(which: Filter) -> list[int]:
    """Return where the pages passed so far began; another filter starts anew."""
    if st.session_state.get(_FILTER) != which:
        st.session_state[_FILTER] = which
        st.session_state[_BEFORE] = []
    trail: list[int] = st.session_state[_BEFORE]
    return trail


def _filters() -> Filter:
    columns = st.columns([5, 2, 2, 3], vertical_alignment="bottom")
    states = columns[0].pills(
        "State",
        list(RunState),
        selection_mode="multi",
        format_func=str.capitalize,
        key="runs_states",
    )
    kind = columns[1].selectbox(
        "Kind", sorted(kinds()), index=None, placeholder="Any", key="runs_kind"
    )
    owner = columns[2].text_input("Owner", placeholder="Any", key="runs_owner")
    text = columns[3].text_input(
        "Search", placeholder="Backbone or name", key="runs_text", icon=":material/search:"
    )
    return Filter(states=tuple(states), kind=kind or "", owner=owner.strip(), text=text.strip())


@st.fragment(run_every=_REFRESH_S)
def _live() -> None:
    with opened.explained():
        store = opened.store()
        state = queries.overview(store)
        _counts(state)
        if not state.total:
            st.info("No runs yet. Submit one:", icon=":material/inbox:")
            st.code(opened.FIRST_RUN, language="bash")
            return
        if state.stands_still:
            st.warning(
                "Runs wait, but no dispatcher is alive to start them. Start one: `platform up`",
                icon=":material/hourglass_disabled:",
            )
        which = _filters()
        trail = _trail(which)
        listing = queries.listing(store, which, limit=_PAGE, before=trail[-1] if trail else None)
        if listing.runs:
            _table(listing)
        else:
            st.info("No run matches these filters.", icon=":material/filter_alt_off:")
        _pager(trail, listing)


def _counts(state: queries.Overview) -> None:
    for column, (name, count) in zip(
        st.columns(len(state.counts)), state.counts.items(), strict=True
    ):
        column.metric(f":{palette.STATES[name]}[●] {name.capitalize()}", f"{count:,}", border=True)


def _table(listing: queries.Listing) -> None:
    columns = {
        "state": st.column_config.MultiselectColumn(
            "State",
            options=[state.value for state in RunState],
            color=[palette.STATES[state] for state in RunState],
            width=100,
        ),
        "id": st.column_config.NumberColumn("Run", format="%d", width=65),
        "what": st.column_config.TextColumn("Backbone", width=290),
        "kind": st.column_config.TextColumn("Kind", width=85),
        "recipe": st.column_config.TextColumn("Recipe", width=160),
        "progress": st.column_config.ProgressColumn(
            "Progress", min_value=0.0, max_value=1.0, format="percent", width=110
        ),
        "time": st.column_config.TextColumn("Time", width=105),
        "note": st.column_config.TextColumn("Now", width=225),
        "owner": st.column_config.TextColumn("Owner", width=60),
        "submitted": st.column_config.TextColumn("Submitted", width=90),
    }
    owners = {run.owner for run in listing.runs}
    hidden = {"owner"} if len(owners) == 1 else set()
    chosen = st.dataframe(
        rows.table(listing.runs, now=listing.now),
        hide_index=True,
        column_order=[name for name in columns if name not in hidden],
        height="content",
        column_config=columns,
        on_select="rerun",
        selection_mode="single-cell",
        placeholder="",
        key="runs_table",
        alt="Runs, newest first",
    )
    row = clicked_row(chosen, first="state", rows=len(listing.runs))
    if row is not None:
        st.switch_page("views/run.py", query_params={"run": str(listing.runs[row].id)})


def _pager(trail: list[int], listing: queries.Listing) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Newer",
            icon=":material/chevron_left:",
            disabled=not trail,
            on_click=_turn_back,
            args=(trail,),
        )
        st.button(
            "Older",
            icon=":material/chevron_right:",
            icon_position="right",
            disabled=listing.older is None,
            on_click=trail.append,
            args=(listing.older,),
        )
        st.caption(
            f"Page {len(trail) + 1} · click a row to open the run · refreshes every {_REFRESH_S} s"
        )


def _turn_back(trail: list[int]) -> None:
    if trail:  # a second click may arrive before the button was drawn as disabled
        trail.pop()


show()
