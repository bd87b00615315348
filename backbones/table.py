"""A table for people to read, which prints on a terminal and goes into JSON. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Value = str | int | float
Cell = Value | tuple[Value, ...]
"""One value, or one for each of the layers that a row is about."""


@dataclass(frozen=True)
class Table:
    """Rows about the plan of a method for the layers of a network.

    Attributes:
        title: What a row is, in the plural.
        columns: Headings.
        rows: Cells, as many as headings. Where a row is about several layers, cells that differ
            from layer to layer hold a value for each, in one order.
        note: What the headings mean, where they do not say it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values: each row by heading."""
        rows = [
            {name: _plain(cell) for name, cell in zip(self.columns, row, strict=True)}
            for row in self.rows
        ]
        return {"title": self.title, "rows": rows}


def _plain(cell: Cell) -> Value | list[Value]:
    return list(cell) if isinstance(cell, tuple) else cell
