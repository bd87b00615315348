"""``platform runs``: what is in the queue, and what was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from convoy.cli import invocation, say
from convoy.states import RunState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rich.table import Table

    from convoy.records import Filter, Run
    from convoy.store import Store

WATCH_S = 2.0


def runs(
    ctx: typer.Context,
    *,
    state: Annotated[
        list[RunState] | None, typer.Option("--state", help="Only runs in this state; may repeat.")
    ] = None,
    kind: Annotated[str, typer.Option(help="Only this kind.")] = "",
    owner: Annotated[str, typer.Option(help="Only this owner's.")] = "",
    study: Annotated[str, typer.Option(help="Only this study's.")] = "",
    text: Annotated[
        str, typer.Option("--text", "-t", help="Only those with this in name, backbone or data.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 30,
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew every 2 s.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print the numbers of the runs alone.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List runs, newest first, with progress, scores, and why each one waits."""
    from convoy.records import Filter

    which = Filter(
        states=tuple(state or ()),
        kind=kind,
        owner=owner,
        study=study,
        text=text,
    )
    with invocation.of(ctx).store() as store:
        if as_json:
            say.answer_runs(store.runs(which, limit=limit))
        elif quiet:
            for run in store.runs(which, limit=limit):
                say.line(str(run.id))
        elif watch:
            _watch(store, which, limit=limit)
        else:
            _print(store, which, limit=limit)


def table_of(found: Sequence[Run], *, now: datetime, caption: str = "") -> Table:
    """Make the table of some runs."""
    from convoy import listing
    from convoy.terminal import tables

    has_names = any(run.name for run in found)
    headings = ["run", "state", "kind", "backbone", "data", "recipe", "progress", "score", "age"]
    rows: list[list[tables.Cell]] = [
        [
            str(run.id),
            tables.state_text(run.state),
            run.kind,
            _with_seed(run),
            run.data,
            run.recipe,
            listing.progress_text(run),
            listing.score_text(run),
            listing.age_text(run, now=now),
            *([run.name] if has_names else []),
        ]
        for run in found
    ]
    return tables.grid(
        headings + ["name"] * has_names,
        rows,
        right=("run", "age"),
        keep=("run", "state", "kind", "backbone", "age"),
        caption=caption,
    )


def _with_seed(run: Run) -> str:
    return f"{run.backbone} seed {run.spec['seed']}" if run.spec.get("seed") else run.backbone


def _print(store: Store, which: Filter, *, limit: int) -> None:
    from convoy.terminal import tables

    found = store.runs(which, limit=limit)
    if not found:
        say.line("no runs" if not sum(store.counts().values()) else "no run fits these filters")
        say.hint("platform submit classify resnet18/eca --set data=digits --set recipe=...")
        return
    tables.put(table_of(found, now=store.now(), caption=_summary(store)))
    waiting = [run for run in found if not run.state.is_final]
    if waiting and not any(dispatcher.alive for dispatcher in store.dispatchers()):
        say.note("no dispatcher runs, so nothing is started; platform up or platform dispatch")
    say.hint(f"platform show {found[0].id}", "platform runs --watch", "platform leaderboard")


def _summary(store: Store) -> str:
    counts = {state: count for state, count in store.counts().items() if count}
    return ", ".join(f"{count:,} {state.value}" for state, count in counts.items())


def _watch(store: Store, which: Filter, *, limit: int) -> None:
    import time

    from rich.live import Live

    from convoy.terminal import tables

    def now() -> Table:
        return table_of(store.runs(which, limit=limit), now=store.now(), caption=_summary(store))

    with Live(now(), console=tables.console(), auto_refresh=False) as live:
        while True:
            time.sleep(WATCH_S)
            live.update(now(), refresh=True)
