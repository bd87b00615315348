"""``platform up``: everything on this machine, until Ctrl-C."""

from __future__ import annotations

from typing import Annotated

import typer

from convoy.cli import invocation, say


def up(
    ctx: typer.Context,
    *,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the dashboard, on loopback.")
    ] = None,
    dashboard: Annotated[bool, typer.Option(help="Serve the dashboard too.")] = True,
) -> None:
    """Start a dispatcher with local Ray, and the dashboard. Ctrl-C ends what was started here.

    What was going is taken up from its last checkpoint by the next platform up.
    """
    from convoy import service

    call = invocation.of(ctx)
    settings = call.settings()
    with call.store() as store:
        waiting = sum(count for state, count in store.counts().items() if not state.is_final)
    chosen = port or settings.dashboard_port
    children = [service.Child("dispatcher", service.dispatch_command(settings.home))]
    say.line(f"dispatcher starts, with Ray at {settings.ray_address}; {waiting} runs wait")
    if dashboard:
        service.refuse_taken(chosen)
        log = settings.home / "dashboard.log"
        command = service.dashboard_command(settings.home, port=chosen)
        children.append(service.Child("dashboard", command, log=log))
        say.line(f"dashboard  http://{service.LOOPBACK}:{chosen}  (log: {log})")
    say.hint("in another terminal: platform submit ...", "Ctrl-C here ends everything")
    name, status = service.keep(children)
    if name:
        log_words = f"; see {settings.home / 'dashboard.log'}" if name == "dashboard" else ""
        say.note(f"error: the {name} ended by itself with status {status}{log_words}")
        raise typer.Exit(1)
    say.line("ended; platform up goes on where this stopped")
