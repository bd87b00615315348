"""Colours by method, state and series, in one place; they read on a light and on a dark page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal
from zlib import crc32

from convoy.states import RunState

ThemeColour = Literal["gray", "blue", "green", "red", "orange"]

LIGHT_PAGE: Final = "#ffffff"
DARK_PAGE: Final = "#171614"
PRIMARY_LIGHT: Final = "#2563eb"
PRIMARY_DARK: Final = "#6ea8fe"
NEUTRAL: Final = "#807d78"
"""What others are compared with (the plain network), the Pareto front, marks on an axis."""

WHEEL: Final = (
    "#3b82f6",
    "#e0682b",
    "#079464",
    "#9b5de5",
    "#d94a57",
    "#0e93a3",
    "#d6479b",
    "#b07a1c",
    "#5b6ee1",
    "#7a8a2b",
    "#a8553a",
    "#4f8f8b",
)

AROUND_NOUGHT: Final = (
    (0.0, "rgba(190, 70, 15, 1)"),
    (0.25, "rgba(224, 104, 43, 0.55)"),
    (0.5, "rgba(128, 125, 120, 0.05)"),
    (0.75, "rgba(59, 130, 246, 0.55)"),
    (1.0, "rgba(20, 70, 200, 1)"),
)
"""Of values of either sign; nought lets the page shine through, be it light or dark."""

STATES: Mapping[RunState, ThemeColour] = {
    RunState.QUEUED: "gray",
    RunState.RUNNING: "blue",
    RunState.SUCCEEDED: "green",
    RunState.FAILED: "red",
    RunState.CANCELLED: "orange",
}
"""Names that Streamlit turns into a shade that suits the theme."""

_SERIES = {
    "train_loss": WHEEL[0],
    "val_loss": WHEEL[1],
    "val_top1_pct": WHEEL[2],
    "val_top5_pct": WHEEL[5],
    "lr": NEUTRAL,
    "images_per_s": WHEEL[3],
}


def by_method(methods: Iterable[str]) -> dict[str, str]:
    """Give each method its colour.

    A method's place on the wheel follows from its name, so that it keeps its colour from page to
    page and from day to day; only where two fall on one place does the later one (alphabetically)
    move on to the next free one.

    Args:
        methods: Names, in any order; ``conv`` is the neutral one.

    Returns:
        Method to ``#rrggbb``; all differ as long as there are no more methods than colours.
    """
    return _dealt(methods, fixed={"conv": NEUTRAL})


def of_series(names: Iterable[str]) -> dict[str, str]:
    """Give each curve of a plot its colour, as `by_method` does."""
    return _dealt(names, fixed=_SERIES)


def _dealt(names: Iterable[str], *, fixed: Mapping[str, str]) -> dict[str, str]:
    wanted = sorted(set(names))
    colours = {name: fixed[name] for name in wanted if name in fixed}
    for name in wanted:
        if name not in colours:
            start = crc32(name.encode()) % len(WHEEL)
            turned = WHEEL[start:] + WHEEL[:start]
            taken = set(colours.values())
            colours[name] = next((colour for colour in turned if colour not in taken), turned[0])
    return colours
