"""``platform detections``: how well a run finds each category, and pictures of what it found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convoy.cli import invocation, say, shown

if TYPE_CHECKING:
    from convoy.categories import Comparison


def detections(
    ctx: typer.Context,
    run_id: shown.RunId,
    *,
    against: Annotated[
        int | None,
        typer.Option(metavar="RUN", help="Another run that was scored on the same images."),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="Folder to copy the pictures into: what was found left, ground truth right."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how well a detection run finds each category, alone or beside another run."""
    from convoy import categories
    from convoy import detections as kept

    call = invocation.of(ctx)
    with call.store() as store:
        run = store.run(run_id)
        other = None if against is None else store.run(against)
        artifacts = store.artifacts(run_id)
    compared = categories.compare(run, other)
    files = kept.save(artifacts, pictures, settings=call.settings()) if pictures else []
    if as_json:
        say.answer(_object(compared, files))
        return
    _print(compared)
    if pictures:
        say.note(f"{len(files)} pictures in {pictures}")
    say.hint(f"platform detections {run_id} --pictures FOLDER", "platform dashboard")


def _print(compared: Comparison) -> None:
    from convoy.categories import TITLES
    from convoy.terminal import tables

    others = [
        name
        for name in TITLES
        if name != compared.measure and (compared.has_masks or not name.startswith("mask"))
    ]
    beside = ("difference", f"run {compared.other}") if compared.other is not None else ()
    names = ("category", "objects", "images")
    headings = (*names, compared.title, *beside, *(TITLES[name] for name in others))
    rows = []
    for line in compared.lines:
        cells = [str(line.row["category"]), *(f"{line.row[name]:,}" for name in names[1:])]
        cells.append(_text(line.value))
        if beside:
            cells += [_text(line.difference, sign="+"), _text(line.beside)]
        rows.append([*cells, *(_text(line.row.get(name)) for name in others)])
    tables.put(tables.grid(headings, rows, right=headings[1:], keep=names))
    if text := compared.summary():
        say.note(text)


def _text(value: float | None, *, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.1f}"


def _object(compared: Comparison, files: list[Path]) -> dict[str, object]:
    found: dict[str, object] = {
        "run": compared.run,
        "against": compared.other,
        "measure": compared.measure,
        "categories": [
            {**line.row, "beside": line.beside, "difference": line.difference}
            for line in compared.lines
        ],
    }
    return {**found, "pictures": files} if files else found
