"""The leaderboard: one table and one trade-off plot for each comparison key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from zlib import crc32

import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

from convoy.leaderboard.exports import as_csv, headline, scores_shown
from convoy.leaderboard.measures import task_of
from convoy.leaderboard.rows import BENCHMARK, Group
from convoy.states import RunState
from dashboard import board, columns, formats, opened, palette, queries, tradeoff
from dashboard.board import Choice, Protocol
from dashboard.clicks import clicked_row
from dashboard.panels import evidence, study

_GROUPS_SHOWN = 8
_SHORT = 6
_FILTERS = {
    "dataset": "Data set",
    "recipe": "Recipe",
    "network": "Network",
    "method": "Method",
    "key": "Comparison key",
}


def show() -> None:
    """Draw the page."""
    st.title("Leaderboard", anchor=False)
    store = opened.store()
    counts = store.counts()
    if name := study.choose():
        study.draw(queries.study_board(store, name, tuple(counts.values())))
        return
    done = counts.get(RunState.SUCCEEDED, 0)
    everything = queries.leaderboards(store, done) if done else {}
    if not any(everything.values()):
        _empty()
        return
    groups = _filtered(everything)
    if not groups:
        st.info("No row matches these filters.", icon=":material/filter_alt_off:")
        return
    protocol, cost = _axes(groups)
    names = (board.method_name(row) for group in _all(everything) for row in group.rows)
    colours = palette.by_method(names)
    for number, group in enumerate(groups[:_GROUPS_SHOWN]):
        _section(group, number=number, protocol=protocol, cost=cost, colours=colours)
    if len(groups) > _GROUPS_SHOWN:
        st.caption(f"{len(groups) - _GROUPS_SHOWN} more tables; narrow them with the filters.")


def _all(everything: Mapping[str, Sequence[Group]]) -> list[Group]:
    return [group for groups in everything.values() for group in groups]


def _empty() -> None:
    st.info(
        "No result yet. A row appears here when a run has succeeded. Submit one, then start it:",
        icon=":material/inbox:",
    )
    st.code(f"{opened.FIRST_RUN}\nplatform up", language="bash")


def _filtered(everything: Mapping[str, Sequence[Group]]) -> list[Group]:
    places = st.columns([2, 2, 2, 2.5, 2, 3, 1.5], vertical_alignment="bottom")
    task = places[0].selectbox(
        "Task", [task for task, groups in everything.items() if groups], key="board_task"
    )
    groups = everything[task]
    chosen = {
        name: column.selectbox(
            title, board.options(groups, name), index=None, placeholder="Any", key=f"board_{name}"
        )
        for column, (name, title) in zip(places[1:6], _FILTERS.items(), strict=True)
    }
    left = board.narrowed(groups, Choice(**{name: value or "" for name, value in chosen.items()}))
    places[6].download_button(
        "CSV",
        as_csv(left, task=task_of(task)),
        file_name="leaderboard.csv",
        mime="text/csv",
        icon=":material/download:",
        disabled=not left,
    )
    return left


def _axes(groups: Sequence[Group]) -> tuple[Protocol | None, str]:
    """Let the reader choose what latency means on this page, and the x axis of the plots."""
    if groups[0].key["task"] == BENCHMARK:
        return None, ""
    known = board.protocols(groups)
    left, right = st.columns([4, 7], vertical_alignment="bottom")
    costs = list(board.COSTS) if known else [name for name in board.COSTS if name != "Latency"]
    measure = groups[0].measure
    title = measure.title if measure else "Score"
    cost = left.segmented_control(
        f"{title} against", costs, default=costs[0], required=True, key="board_cost"
    )
    if not known:
        right.caption("No latency measured yet: `platform submit benchmark`")
        return None, str(cost)
    protocol = right.selectbox(
        "Latency measured on",
        known,
        format_func=" · ".join,
        key="board_protocol",
        help="Latencies of different devices or protocols are never compared.",
    )
    return protocol, str(cost)


def _section(
    group: Group,
    *,
    number: int,
    protocol: Protocol | None,
    cost: str,
    colours: Mapping[str, str],
) -> None:
    st.subheader(board.short_title(group), anchor=False)
    st.caption(headline(group))
    if text := board.differences(group):
        st.caption(f":orange[:material/compare_arrows:] {text}")
    if group.key["task"] == BENCHMARK:
        protocol = (group.key["device"], group.key["protocol"])
    chosen = _table(group, number=number, protocol=protocol)
    if chosen is not None:
        evidence.draw(group.rows[chosen], group.measures, by=group.measure)
    if cost:
        _plot(group, number=number, protocol=protocol, cost=cost, colours=colours)


def _table(group: Group, *, number: int, protocol: Protocol | None) -> int | None:
    """Draw the table; return the row that was clicked."""
    chosen = st.dataframe(
        board.table(group, protocol),
        hide_index=True,
        height="content",
        placeholder="",
        column_config=_columns(group),
        on_select="rerun",
        selection_mode="single-cell",
        key=f"board_table_{number}_{_shown(group)}",
        alt=f"Leaderboard {board.short_title(group)}",
    )
    caption = formats.literal(board.interval_caption(group))
    st.caption(f"{caption} Click a row to see its runs, latencies and sources.")
    if restless := board.unsettled(group, protocol):
        st.caption(f":orange[:material/warning:] Latency did not settle: {', '.join(restless)}.")
    return clicked_row(chosen, first="rank", rows=len(group.rows))


def _shown(group: Group) -> str:
    """Name what a table shows: one of other rows under the same key would lose its first click."""
    return f"{crc32(' '.join([headline(group), *(row.backbone for row in group.rows)]).encode()):x}"


def _columns(group: Group) -> dict[str, ColumnConfig]:
    title = group.measure.title if group.measure else "What"
    texts = [board.published_text(row, group.measure) or "" for row in group.rows]
    return {
        **columns.ranked(scores_shown(group)),
        "backbone": st.column_config.TextColumn("Backbone", width=300),
        "published": st.column_config.TextColumn(
            "Published",
            width=150 if max(map(len, texts)) > _SHORT else 80,  # " on imagenet1k" behind it
            help=f"{title} that a paper prints for this backbone.",
        ),
    }


def _plot(
    group: Group,
    *,
    number: int,
    protocol: Protocol | None,
    cost: str,
    colours: Mapping[str, str],
) -> None:
    spots = board.spots(group, cost=cost, protocol=protocol)
    if missing := len(group.rows) - len(spots):
        st.caption(f"{missing} of {len(group.rows)} rows lack this figure and are not drawn.")
    if spots and group.measure:
        st.plotly_chart(
            tradeoff.figure(
                spots, cost=board.COSTS[cost], score=group.measure.heading, colours=colours
            ),
            key=f"board_plot_{number}",
            config={"displaylogo": False},
            alt=f"{group.measure.title} against {cost.lower()}, with the Pareto front",
        )


show()
