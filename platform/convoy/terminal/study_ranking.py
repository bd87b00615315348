"""A study's table drawn for the terminal: measured beside published, what is missing included."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rich.text import Text

from convoy.leaderboard import study_exports
from convoy.leaderboard.study import MEASURED, Board
from convoy.terminal import tables


def draw(board: Board) -> None:
    """Print the table of a study with its title and its notes."""
    tables.put(Text(study_exports.headline(board), style="bold"))
    lines = [study_exports.cells(line, board) for line in board.lines]
    shown = study_exports.shown_headings(board)
    figures = [name for name in shown if name not in study_exports.left(board)]
    best = {"Backbone", board.measure.heading}
    tables.put(
        tables.grid(
            shown,
            [
                [Text(cells[name], style=_style(cells, name, best)) for name in shown]
                for cells in lines
            ],
            right=figures,
        )
    )
    for text in study_exports.notes(board):
        tables.put(Text(f"  {text}", style="dim"))
    tables.put("")


def _style(cells: Mapping[str, str], name: str, best: Collection[str]) -> str:
    if name == "State":
        return "" if cells[name].startswith(MEASURED) else "yellow"
    return "bold" if cells["Rank"] == "1" and name in best else ""
