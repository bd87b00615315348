"""``platform describe``: what backbones cost, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convoy.cli import fitting, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backbones.describe import Description
    from backbones.method import Published
    from backbones.resolve import Resolved

SHOWN = 2
"""How many published rows of a backbone a table holds."""


def describe(
    backbones: Annotated[
        list[str], typer.Argument(help="Such as 'resnet18/kernel_warehouse(budget=4)'.")
    ],
    *,
    image_size: Annotated[
        int | None,
        typer.Option(
            min=8, help="Side of the images, pixels; each network's usual one if not said."
        ),
    ] = None,
    classes: Annotated[int, typer.Option(min=1, help="Width of the classifier.")] = 1000,
    warehouses: Annotated[
        bool,
        typer.Option(
            "--warehouses",
            help="Instead of costs: which layers share kernels, in which cells, and how many.",
        ),
    ] = False,
    weights: Annotated[
        Path | None,
        typer.Option(help="Instead of costs: whether this file of weights fits, and what it is."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count parameters and multiply-adds of backbones, beside what their papers print.

    Multiply-adds are those of convolutions, linear layers and matrix products for one image; the
    assembly of dynamic kernels is included and shown apart.
    """
    from backbones.resolve import resolve

    resolved = [resolve(text) for text in backbones]  # refuses all before it builds any
    if warehouses:
        _plans(resolved, image_size=image_size, classes=classes, as_json=as_json)
        return
    if weights:
        fitting.answer(resolved, weights, image_size=image_size, classes=classes, as_json=as_json)
        return
    from backbones.describe import describe as look

    found = [look(one, image_size=image_size, classes=classes) for one in resolved]
    if as_json:
        say.answer([one.as_json() for one in found])
        return
    from convoy.terminal import tables

    headings = ("backbone", "px", "params M", "MAdds M", "assembly M", "sites", "published")
    tables.put(
        tables.grid(
            headings,
            [_cells(one) for one in found],
            right=headings[1:6],
            keep=headings[1:6],
            caption=f"{classes} classes; MAdds hold the assembly of kernels",
        )
    )
    first = found[0].backbone
    say.hint(f"platform submit classify '{first}' --set data=digits --set recipe=... --dry-run")


def _plans(
    backbones: Sequence[Resolved], *, image_size: int | None, classes: int, as_json: bool
) -> None:
    from backbones.plan_table import plan_tables

    found = {
        str(one): plan_tables(one, classes=classes, image_size=image_size) for one in backbones
    }
    if as_json:
        say.answer(
            [
                {"backbone": text, "tables": [table.as_json() for table in tables]}
                for text, tables in found.items()
            ]
        )
        return
    from convoy.terminal import plan

    for text, tables in found.items():
        for table in tables:
            plan.draw(text, table)
    say.hint(f"platform describe '{next(iter(found))}'")


def _cells(one: Description) -> list[str]:
    return [
        one.backbone,
        str(one.image_size),
        f"{one.params / 1e6:.3f}",
        f"{one.madds / 1e6:.1f}",
        f"{one.madds_assembly / 1e6:.1f}",
        _taken_text(one),
        _published_text(one.published),
    ]


def _taken_text(one: Description) -> str:
    layers = f"{one.sites_taken} of {one.sites_total}"
    return f"{layers}, {one.blocks_taken} blocks" if one.blocks_taken else layers


def _published_text(rows: Sequence[Published]) -> str:
    found = [f"{figures} ({row.dataset})" for row in rows if (figures := _figures(row))]
    lines = found[:SHOWN]
    if len(rows) > len(lines):
        lines.append(f"and {len(rows) - len(lines)} more, with sources: --json")
    return "\n".join(lines)


def _figures(row: Published) -> str:
    forms = (
        ("{:g} M", row.params_m),
        ("{:g} M MAdds", row.madds_m),
        ("top-1 {:g} %", row.top1_pct),
        ("mask AP {:g} %", row.mask_ap_pct),
        ("box AP {:g} %", row.box_ap_pct),
    )
    found = ", ".join(form.format(value) for form, value in forms if value is not None)
    return found if row.task == "classify" else f"{row.task}: {found}"
