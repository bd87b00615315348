"""The leaderboard of one study: every row of a published table, measured or not."""

from __future__ import annotations

import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

from backbones.errors import near
from convoy.leaderboard import study_exports
from convoy.leaderboard.study import ABSENT, Board
from dashboard import columns, formats, study_table
from dashboard.clicks import clicked_row
from dashboard.panels import evidence
from jobs import studies

_QUERY = "study"
_KEY = "board_study"


def choose() -> str:
    """Let the reader choose a study; the address of the page keeps it. Empty: none."""
    named = st.query_params.get(_QUERY, "")
    known = list(studies.names())
    if named and named not in known:
        st.warning(
            formats.literal(f"unknown study {named!r}; {near(named, known)}"),
            icon=":material/search_off:",
        )
    elif named and _KEY not in st.session_state:
        st.session_state[_KEY] = named
    chosen = st.selectbox(
        "Study",
        known,
        index=None,  # with another one it could not be cleared any more
        placeholder="Any: rank all results",
        format_func=lambda name: f"{name} · {studies.get(name).title}",
        key=_KEY,
        on_change=_keep,
        help="A published table: each of its rows, measured here or not yet, beside its source.",
    )
    return chosen or ""


def _keep() -> None:
    """Put the choice into the address of the page."""
    if name := st.session_state.get(_KEY):
        st.query_params[_QUERY] = name
    elif _QUERY in st.query_params:
        del st.query_params[_QUERY]


def draw(board: Board) -> None:
    """Draw a study's table, what its reader must know, and what stands behind a clicked row."""
    st.subheader(formats.literal(board.study.title), anchor=False)
    chosen = st.dataframe(
        study_table.table(board),
        hide_index=True,
        height="content",
        placeholder="",
        column_config=_columns(board),
        on_select="rerun",
        selection_mode="single-cell",
        key="board_study_table",
        alt=study_exports.headline(board),
    )
    st.download_button(
        "CSV",
        study_exports.as_csv(board),
        file_name=f"{board.study.name}.csv",
        mime="text/csv",
        icon=":material/download:",
    )
    number = clicked_row(chosen, first="rank", rows=len(board.lines))
    if number is not None and (row := board.lines[number].measured):
        evidence.draw(row, board.measures, by=board.measure)
    st.caption("  \n".join(map(formats.literal, study_exports.notes(board))))
    if board.others:
        st.caption("Rows measured otherwise stand in the tables that are shown without a study.")
    if any(line.state == ABSENT for line in board.lines):
        st.caption("Rows that were not submitted are queued by:")
        st.code(board.study.command(), language="bash")


def _columns(board: Board) -> dict[str, ColumnConfig]:
    number = st.column_config.NumberColumn
    main, others = board.measure, study_exports.other_measures(board)
    return {
        **columns.ranked([main, *others]),
        "backbone": st.column_config.TextColumn("Backbone", width=290),
        "state": st.column_config.TextColumn("State", width=120),
        "published": number("Published (%)", format=f"%.{main.digits}f", width=110),
        **{
            f"published_{one.name}": number(
                f"Published {one.word} ({one.unit})", format=f"%.{one.digits}f", width=130
            )
            for one in others
        },
        "difference": st.column_config.TextColumn(
            "Difference", width=220, help="Measured less published, where they can be compared."
        ),
        "published_m": number("Published (M)", format="%,.2f", width=110),
    }
