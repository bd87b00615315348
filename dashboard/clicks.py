"""Which row of a table was clicked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def clicked_row(state: Mapping[str, Any], *, first: str, rows: int) -> int | None:
    """Return the row of a click, by its place in the data, however the table is sorted.

    Args:
        state: What ``st.dataframe`` returned with ``selection_mode="single-cell"``.
        first: Name of the table's first column. Streamlit also selects a cell of it when a heading
            is clicked to sort, so a selection there is not taken for a click on a row.
        rows: How many rows there are now; a refresh may have left fewer.
    """
    cells = state["selection"]["cells"]
    if not cells or cells[0][1] == first or cells[0][0] >= rows:
        return None
    return int(cells[0][0])
