"""The rows of a study before they are measured: costs, and what is published of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from backbones.method import Published
from convoy.leaderboard.measures import Measure, task_of
from convoy.leaderboard.publication import other_recipe, published_in
from convoy.terminal import tables
from jobs.studies import Study, StudyRow

MILLION = 1e6


@dataclass(frozen=True)
class Looked:
    """A row of a study.

    Attributes:
        row: As the study has it.
        published: What its source prints, if that is known.
        as_published: The recipe of its source, where that is another than the study's.
        cost: ``params``, ``madds`` and ``madds_assembly``; empty when not counted.
    """

    row: StudyRow
    published: Published | None
    as_published: str
    cost: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        printed = self.published
        return {
            **self.row.model_dump(mode="json"),
            "as_published": self.as_published,
            "cost": dict(self.cost),
            "published": printed and printed.model_dump(mode="json", exclude_defaults=True),
        }


def look(study: Study, *, cost: Callable[[str], Mapping[str, Any]] | None = None) -> list[Looked]:
    """Gather what is known about the rows of a study.

    Args:
        study: Whose rows.
        cost: Counts a backbone; None: costs are left out.
    """
    return [
        Looked(
            row,
            published_in(study, row.backbone),
            other_recipe(study, row.backbone),
            cost(row.backbone) if cost else {},
        )
        for row in study.rows
    ]


def draw(study: Study, rows: Sequence[Looked]) -> None:
    """Print a study: what it is, its rows, its notes."""
    tables.put(Text(f"{study.name}: {study.title}", style="bold"))
    for text in about(study):
        tables.put(Text(f"  {text}", style="dim"))
    scores = [one for one in _measures(study) if one.shown == "everywhere"]
    right = [*map(_heading, scores), "published M", "params M", "MAdds M"]
    headings = ["backbone", *right, "note"]
    if not any(one.cost for one in rows):
        headings = [name for name in headings if name not in {"params M", "MAdds M"}]
    cells = [_cells(one, scores) for one in rows]
    shown = [[line[name] for name in headings] for line in cells]
    tables.put(tables.grid(headings, shown, right=right, keep=right))


def draw_list(studies: Sequence[Study], *, total: int) -> None:
    """Print a line a study."""
    headings = ("study", "rows", "recipe", "title")
    rows = [(one.name, str(len(one.rows)), one.recipe.name, one.title) for one in studies]
    caption = f"{len(studies)} of {total} studies"
    tables.put(tables.grid(headings, rows, right=("rows",), keep=headings[:3], caption=caption))


def about(study: Study) -> list[str]:
    """Return where a study comes from and how its rows are trained, a line each."""
    recipe = study.recipe
    return [
        line
        for line in (
            study.paper,
            f"recipe {recipe.name} ({recipe.epochs} epochs, {recipe.scored_px} px)",
            f"published figures: {study.origin}",
            *study.notes,
        )
        if line
    ]


def _measures(study: Study) -> tuple[Measure, ...]:
    return task_of(study.kind).applying(study.detector)


def _heading(measure: Measure) -> str:
    return f"published {measure.word} {measure.unit}"


def _cells(one: Looked, scores: Sequence[Measure]) -> dict[str, str]:
    printed, cost = one.published, one.cost
    theirs = f"theirs: {one.as_published}" if one.as_published else ""
    return {
        "backbone": one.row.backbone,
        **{
            _heading(measure): (printed and measure.text(measure.printed(printed))) or "-"
            for measure in scores
        },
        "published M": f"{printed.params_m:g}" if printed and printed.params_m else "-",
        "params M": f"{cost['params'] / MILLION:.3f}" if cost else "",
        "MAdds M": f"{cost['madds'] / MILLION:.1f}" if cost else "",
        "note": "; ".join(filter(None, [one.row.note, theirs])),
    }
