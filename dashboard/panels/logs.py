"""The end of a run's log, by rank and attempt."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import streamlit as st

from convoy.records import LogPiece
from convoy.store import Store
from dashboard import queries
from dashboard.queries import Record

LINES_KEPT = 2000
_LINES_SHOWN = 500
_LINES_IN_SIGHT = 16
_HEIGHT_PX = 420


@dataclass(frozen=True)
class Line:
    """A line of the log and where it came from."""

    attempt: int
    rank: int
    text: str


@dataclass
class Tail:
    """The end of one run's log, kept between two refreshes so that only what is new is read.

    Attributes:
        run_id: Whose log.
        cursor: Where reading goes on.
        lines: The last ones.
    """

    run_id: int
    cursor: int = 0
    lines: deque[Line] = field(default_factory=lambda: deque(maxlen=LINES_KEPT))

    def take(self, pieces: Sequence[LogPiece]) -> None:
        """Add pieces that follow the cursor."""
        for piece in pieces:
            self.cursor = piece.cursor
            self.lines.extend(
                Line(piece.attempt, piece.rank, text) for text in piece.text.splitlines()
            )


def draw(store: Store, record: Record) -> None:
    """Draw it, newest line last and in sight."""
    tail = _read(store, record.run.id)
    if not tail.lines and record.run.state.is_final and record.run.attempt == 0:
        return
    st.subheader("Log", anchor=False)
    if not tail.lines:
        st.caption("No line yet.")
        return
    chosen = _choose(tail)
    text = "\n".join(_marked(chosen)[-_LINES_SHOWN:])
    long = len(chosen) > _LINES_IN_SIGHT
    with st.container(height=_HEIGHT_PX if long else "content", autoscroll=long, border=False):
        st.code(text, language=None, wrap_lines=True)
    if len(chosen) > _LINES_SHOWN:
        st.caption(f"The last {_LINES_SHOWN} lines; all of them: `platform logs {record.run.id}`")


def _marked(lines: Sequence[Line]) -> list[str]:
    """Return the texts; each says its attempt and its rank where these are not all the same."""
    attempts = len({line.attempt for line in lines}) > 1
    ranks = len({line.rank for line in lines}) > 1
    return [
        (f"attempt {line.attempt} │ " if attempts else "")
        + (f"rank {line.rank} │ " if ranks else "")
        + line.text
        for line in lines
    ]


def _read(store: Store, run_id: int) -> Tail:
    tail: Tail | None = st.session_state.get("log_tail")
    if tail is None or tail.run_id != run_id:
        tail = st.session_state["log_tail"] = Tail(run_id)
    tail.take(list(queries.log(store, run_id, after=tail.cursor)))
    return tail


def _choose(tail: Tail) -> list[Line]:
    attempts = sorted({line.attempt for line in tail.lines})
    ranks = sorted({line.rank for line in tail.lines})
    lines = list(tail.lines)
    with st.container(horizontal=True):
        if len(attempts) > 1:
            number = st.segmented_control("Attempt", attempts, key="log_attempt")
            lines = [line for line in lines if number in (None, line.attempt)]
        if len(ranks) > 1:
            rank = st.segmented_control("Rank", ranks, key="log_rank")
            lines = [line for line in lines if rank in (None, line.rank)]
    return lines
