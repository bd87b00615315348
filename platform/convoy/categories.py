"""How well a detection run finds each category, alone or beside another run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from convoy.errors import ConvoyError
from convoy.leaderboard.measures import DETECT
from convoy.records import Json, Run

_TITLE_OF = {one.score: one.title for one in DETECT.measures}
TITLES: Mapping[str, str] = {
    score: _TITLE_OF[score]
    for score in ("mask_ap_pct", "mask_ap50_pct", "box_ap_pct", "box_ap50_pct")
}
"""What a row of a detection run's result says of a category, in percent."""

Row = Mapping[str, Json]


@dataclass(frozen=True)
class Line:
    """One category.

    Attributes:
        row: As the run's result has it.
        value: What categories are ranked by, in percent; None where it has no objects.
        beside: The same of the other run.
    """

    row: Row
    value: float | None
    beside: float | None = None

    @property
    def difference(self) -> float | None:
        """By how much the run is better than the other one, in points."""
        if self.value is None or self.beside is None:
            return None
        return self.value - self.beside


@dataclass(frozen=True)
class Comparison:
    """The categories of a run.

    Attributes:
        run: Its number.
        other: That of the run beside it, or None.
        measure: What categories are ranked by: ``mask_ap_pct``, or ``box_ap_pct`` where one of the
            runs has no masks.
        lines: The best found first, those without objects last.
    """

    run: int
    other: int | None
    measure: str
    lines: tuple[Line, ...]

    @property
    def title(self) -> str:
        """What categories are ranked by, in words."""
        return TITLES[self.measure]

    @property
    def has_masks(self) -> bool:
        """Whether the run's detector finds masks."""
        return _has_masks([line.row for line in self.lines])

    def summary(self) -> str:
        """Say in a line how the two runs compare over the categories; empty without another."""
        if self.other is None:
            return ""
        differences = [line.difference for line in self.lines if line.difference is not None]
        if not differences:
            return f"Runs {self.run} and {self.other} share no category with a score."
        better = sum(difference > 0 for difference in differences)
        worse = sum(difference < 0 for difference in differences)
        mean = sum(differences) / len(differences)
        return (
            f"Run {self.run} has a higher {self.title} than run {self.other} in {better} of "
            f"{len(differences)} categories and a lower one in {worse}; the mean difference is "
            f"{mean:+.2f}. A category of few objects changes much from run to run."
        )


def compare(run: Run, other: Run | None = None) -> Comparison:
    """Rank the categories of a finished detection run, beside another one's if there is one.

    Raises:
        ConvoyError: A run has no scores by category, or they were scored on other images.
    """
    own, theirs = _rows(run), _rows(other) if other else ()
    if other and not on_same_images(run, other):
        raise ConvoyError(
            f"runs {run.id} ({run.data}) and {other.id} ({other.data}) were scored on different "
            "images; compare runs of one data set"
        )
    masks = _has_masks(own) and (other is None or _has_masks(theirs))
    measure = "mask_ap_pct" if masks else "box_ap_pct"
    beside = {row["category"]: row.get(measure) for row in theirs}
    lines = [Line(row, row.get(measure), beside.get(row["category"])) for row in own]
    lines.sort(key=lambda line: -1.0 if line.value is None else line.value, reverse=True)
    return Comparison(run.id, other.id if other else None, measure, tuple(lines))


def on_same_images(run: Run, other: Run) -> bool:
    """Return whether two finished runs were scored on the same images."""
    return _scored_on(run) == _scored_on(other)


def _scored_on(run: Run) -> tuple[object, object]:
    facts = (run.result or {}).get("facts", {})
    return facts.get("dataset_fingerprint"), facts.get("split")


def _rows(run: Run) -> Sequence[Row]:
    rows: Sequence[Row] = (run.result or {}).get("rows", ())
    if not rows or "category" not in rows[0]:
        raise ConvoyError(
            f"run {run.id} ({run.kind}, {run.state}) has no scores by category; detect runs that "
            "have succeeded do"
        )
    return rows


def _has_masks(rows: Sequence[Row]) -> bool:
    return any(row.get("mask_ap_pct") is not None for row in rows)
