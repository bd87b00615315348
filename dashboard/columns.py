"""How the columns of ranked tables look, on every page alike."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

from convoy.leaderboard.measures import Measure
from dashboard import formats


def ranked(measures: Iterable[Measure]) -> dict[str, ColumnConfig]:
    """Return the columns that every ranked table may have, scores by the name of their measure."""
    number = st.column_config.NumberColumn
    return {
        "rank": number("Rank", format="%d", width=55, help="Equal where intervals overlap."),
        **{one.name: _score(one) for one in measures},
        "spread": number("\u00b1 95 %", format="%.2f", width=70, help="Half of the interval."),
        "seeds": number("Seeds", format="%d", width=60),
        "params_m": number("Params (M)", format="%,.2f", width=95),
        "madds_m": number("MAdds (M)", format="%,.1f", width=95),
        "p50_ms": number("p50 (ms)", format="%,.2f", width=85),
        "ratio": number(
            "Ratio",
            format=f"%.2f{formats.TIMES}",
            width=65,
            help="Latency to the plain network's.",
        ),
        "runs": st.column_config.ListColumn("Runs", width=110),
    }


def _score(measure: Measure) -> ColumnConfig:
    width = 85 if len(measure.heading) < 10 else 105
    return st.column_config.NumberColumn(
        measure.heading, format=f"%.{measure.digits}f", width=width
    )
