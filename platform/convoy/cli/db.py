"""``platform db``: the store's tables."""

from __future__ import annotations

from typing import Annotated

import typer

from convoy.cli import invocation, say

app = typer.Typer(no_args_is_help=True, help="Look after the store: upgrade, version.")


@app.command()
def upgrade(ctx: typer.Context) -> None:
    """Bring the store up to date with this version; one that is up to date stays as it is."""
    from convoy.store import Store

    url = invocation.of(ctx).settings().store_url
    with Store.create(url) as store:
        facts = _facts(store.id, url=url)
    say.line(f"store {facts['store']} is at version {facts['version']}")
    say.hint("platform doctor", "platform runs")


@app.command()
def version(
    ctx: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show where the store is and which version its tables have."""
    call = invocation.of(ctx)
    with call.store() as store:
        facts = _facts(store.id, url=call.settings().store_url)
    if as_json:
        say.answer(facts)
    else:
        say.line(f"store {facts['store']} ({facts['id']}) is at version {facts['version']}")
        say.hint("platform db upgrade", "platform doctor")


def _facts(store_id: str, *, url: str) -> dict[str, str]:
    """Return what is known of an open store, whose version is the newest by having been opened."""
    from convoy.migrations import revisions
    from convoy.store.address import read_address

    return {"store": read_address(url).shown, "id": store_id, "version": revisions()[-1]}
