"""``platform studies``: which published tables can be measured anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convoy.cli import say


def studies(
    text: Annotated[
        str, typer.Argument(help="Only those with this in name, title or rows; or a file.")
    ] = "",
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the studies; one that is named exactly, with all its rows and what is published."""
    from convoy.terminal import study as drawing
    from jobs import studies as registry

    known = {name: registry.get(name) for name in registry.names()}
    if text.endswith((".yaml", ".yml")):
        own = registry.read(Path(text))
        found = {own.name: own}
    elif text in known:
        found = {text: known[text]}
    else:
        found = {
            name: study
            for name, study in known.items()
            if text.lower() in f"{name} {study.title} {' '.join(study.by_backbone)}".lower()
        }
    if as_json:
        say.answer([study.model_dump(mode="json") for study in found.values()])
    elif len(found) == 1:
        (study,) = found.values()
        drawing.draw(study, drawing.look(study))
    else:
        drawing.draw_list(list(found.values()), total=len(known))
    shown, study = next(iter((found or known).items()))
    say.hint(f"platform studies {shown}", study.command())
