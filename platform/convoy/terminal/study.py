"""The rows of a study before they are measured: costs, and what is published of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from backbones.method import Published
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
    cost: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        printed = self.published
        return {
            **self.row.model_dump(mode="json"),
            "as_published": self.as_published,
            "cost": self.cost,
            "published": printed and printed.model_dump(mode="json", exclude_defaults=True),
        }


def look(study: Study, *, image_size: int = 0, classes: int = 1000) -> list[Looked]:
    """Gather what is known about the rows of a study.

    Args:
        study: Whose rows.
        image_size: Side of the images in pixels for which costs are counted, which imports torch;
            0: they are left out.
        classes: Width of the classifier, likewise.
    """
    return [
        Looked(
            row,
            published_in(study, row.backbone),
            other_recipe(study, row.backbone),
            _cost(row.backbone, image_size=image_size, classes=classes) if image_size else {},
        )
        for row in study.rows
    ]


def draw(study: Study, rows: Sequence[Looked]) -> None:
    """Print a study: what it is, its rows, its notes."""
    tables.put(Text(f"{study.name}: {study.title}", style="bold"))
    for text in about(study):
        tables.put(Text(f"  {text}", style="dim"))
    headings = ["backbone", "published %", "published M", "params M", "MAdds M", "note"]
    right = headings[1:5]
    if not any(one.cost for one in rows):
        headings = [name for name in headings if name not in {"params M", "MAdds M"}]
    cells = [_cells(one) for one in rows]
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
            f"recipe {recipe.name} ({recipe.epochs} epochs, {recipe.image_size} px)",
            f"published figures: {study.origin}",
            *study.notes,
        )
        if line
    ]


def _cells(one: Looked) -> dict[str, str]:
    printed, cost = one.published, one.cost
    theirs = f"theirs: {one.as_published}" if one.as_published else ""
    return {
        "backbone": one.row.backbone,
        "published %": f"{printed.top1_pct:.2f}" if printed and printed.top1_pct else "-",
        "published M": f"{printed.params_m:g}" if printed and printed.params_m else "-",
        "params M": f"{cost['params'] / MILLION:.3f}" if cost else "",
        "MAdds M": f"{cost['madds'] / MILLION:.1f}" if cost else "",
        "note": "; ".join(filter(None, [one.row.note, theirs])),
    }


def _cost(backbone: str, *, image_size: int, classes: int) -> dict[str, int]:
    from backbones.cost import cost

    counted = cost(backbone, classes=classes, image_size=image_size)
    return {
        "params": counted.params,
        "madds": counted.madds,
        "madds_assembly": counted.madds_assembly,
    }
