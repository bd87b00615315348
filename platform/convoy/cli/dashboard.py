"""``platform dashboard``: the same in a browser."""

from __future__ import annotations

from typing import Annotated

import typer

from convoy.cli import invocation, say


def dashboard(
    ctx: typer.Context,
    *,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port on loopback; else the settings'.")
    ] = None,
) -> None:
    """Serve the dashboard on this machine's loopback until Ctrl-C."""
    from convoy import service

    call = invocation.of(ctx)
    settings = call.settings()
    with call.store():
        pass  # refuses here, with our words, what the pages could not read either
    chosen = port or settings.dashboard_port
    service.refuse_taken(chosen)
    say.line(f"dashboard  http://{service.LOOPBACK}:{chosen}  (Ctrl-C ends it)")
    child = service.Child("dashboard", service.dashboard_command(settings.home, port=chosen))
    name, status = service.keep([child])
    if name:
        say.note(f"error: the {name} ended by itself with status {status}")
        raise typer.Exit(1)
    say.hint("platform leaderboard")
