"""``platform init``: a place for runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convoy.cli import invocation, say


def init(
    ctx: typer.Context,
    *,
    home: Annotated[
        Path | None,
        typer.Option("--home", help="Folder to make; .convoy in the working folder when not said."),
    ] = None,
) -> None:
    """Make the home folder with its store, its storage and a commented convoy.toml.

    Running it again is harmless: what is there stays, and an older store is brought up to date.
    """
    from convoy.installation import install

    place = (home or invocation.of(ctx).home or Path.cwd() / ".convoy").expanduser().absolute()
    for done in install(place):
        say.line(done)
    usual = place == Path.cwd() / ".convoy"
    say.hint("platform doctor", "platform up" if usual else f"platform --home {place} up")
