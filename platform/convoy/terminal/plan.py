"""The tables of a method about its plan, for people."""

from __future__ import annotations

from collections.abc import Sequence

from backbones.table import Cell, Table
from convoy.terminal import tables


def draw(text: str, table: Table) -> None:
    """Print one table of a backbone; a row about several layers takes a line for each.

    Args:
        text: The backbone.
        table: About its plan.
    """
    right = _numbers(table)
    tables.put(
        tables.grid(
            table.columns,
            [line for row in table.rows for line in _lines(row)],
            right=right,
            keep=right,
            title=f"{text}: {len(table.rows)} {table.title}",
            caption=table.note,
        )
    )


def _lines(row: Sequence[Cell]) -> list[list[str]]:
    """Return the lines of a row; what holds for all its layers stands on the first."""
    columns = [cell if isinstance(cell, tuple) else (cell,) for cell in row]
    count = max(map(len, columns))
    return [[str(column[i]) if i < len(column) else "" for column in columns] for i in range(count)]


def _numbers(table: Table) -> list[str]:
    """Return the headings of the columns that hold numbers."""
    firsts = [cell[0] if isinstance(cell, tuple) else cell for cell in next(iter(table.rows), ())]
    return [
        name
        for name, first in zip(table.columns, firsts, strict=False)
        if isinstance(first, int | float)
    ]
