"""``platform networks``: which base networks there are."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from convoy.cli import say

SHOWN = 60


def networks(
    text: Annotated[str, typer.Argument(help="Only those with this in the name.")] = "",
    *,
    show_all: Annotated[
        bool, typer.Option("--all", help="On a terminal too, show every one.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the base networks: timm's, torchvision's, and those that neither has.

    On a terminal the first 60 are shown; into a pipe go all of them, one a line.
    """
    from backbones import network as known

    found = [name for name in known.names() if text.lower() in name.lower()]
    if as_json:
        say.answer([{"name": name, "origin": known.origins()[name]} for name in found])
        return
    if not sys.stdout.isatty():
        for name in found:
            say.line(name)
        return
    _columns(found if show_all else found[:SHOWN])
    hidden = 0 if show_all else max(0, len(found) - SHOWN)
    if hidden:
        say.line(f"... and {hidden:,} more: platform networks TEXT narrows them, --all shows them")
    if not found:
        from backbones.errors import near

        say.line(f"no network has {text!r} in its name; {near(text, known.names())}")
    name = found[0] if found else "resnet18"
    say.hint(f"platform describe {name}/conv {name}/eca", "platform methods")


def _columns(names: list[str]) -> None:
    from rich.columns import Columns
    from rich.text import Text

    from convoy.terminal import tables

    tables.put(Columns([Text(name) for name in names], column_first=True, padding=(0, 2)))
