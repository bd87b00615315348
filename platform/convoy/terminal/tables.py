"""Tables for people, through rich: as wide as the terminal, uncut when they go into a file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from convoy.states import RunState

WIDE = 400
"""Columns where there is no terminal: nothing is cut."""

LEAST = 12
"""Columns that a cell keeps however narrow the terminal is, if it needs so many."""

COLOURS = {
    RunState.QUEUED: "yellow",
    RunState.RUNNING: "cyan",
    RunState.SUCCEEDED: "green",
    RunState.FAILED: "red",
    RunState.CANCELLED: "bright_black",
}

Cell = str | Text


def console(*, err: bool = False) -> Console:
    """Return where tables go: stdout, or stderr for what is not part of the answer."""
    stream = sys.stderr if err else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else WIDE, highlight=False)


def put(*parts: RenderableType) -> None:
    """Print on stdout; into a file or pipe without the blanks that fill lines up."""
    to = console()
    if to.is_terminal:
        to.print(*parts, sep="\n")
        return
    with to.capture() as captured:
        to.print(*parts, sep="\n")
    lines = captured.get().splitlines()
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in lines))


def grid(
    headings: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    right: Sequence[str] = (),
    keep: Sequence[str] = (),
    title: str = "",
    caption: str = "",
) -> Table:
    """Make a table.

    Args:
        headings: Of the columns.
        rows: Cells, as many as headings; text is taken as it stands, without markup.
        right: Headings of columns to be set flush right.
        keep: Headings of columns that are never broken over lines.
        title: Above the table.
        caption: Below it.
    """
    table = Table(
        box=SIMPLE_HEAD,
        title=Text(title, style="bold") if title else None,
        caption=Text(caption, style="dim") if caption else None,
        title_justify="left",
        caption_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    cells = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
    for index, heading in enumerate(headings):
        widest = max((row[index].cell_len for row in cells), default=0)
        side: Literal["left", "right"] = "right" if heading in right else "left"
        table.add_column(
            heading,
            justify=side,
            no_wrap=heading in keep,
            overflow="fold",
            min_width=min(widest, LEAST),  # else the columns that are kept squeeze it to nothing
        )
    for row in cells:
        table.add_row(*row)
    return table


def state_text(state: RunState) -> Text:
    """Return a state in its colour."""
    return Text(state.value, style=COLOURS[state])
