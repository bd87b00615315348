"""``platform demo``: from nothing to a leaderboard on this machine."""

from __future__ import annotations

import shlex
import shutil
import sys
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convoy.cli import invocation, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convoy.records import Run
    from convoy.repeatable import Part
    from convoy.settings import Settings
    from convoy.store import Store

LOOK_S = 1.0
"""Pause between two looks at the runs: each costs what they could train with."""

LOG = "demo-dispatcher.log"
HEADINGS = ("queued", "starting", "preparing", "working")
"""The fields of `convoy.demo.Spans`, in their order."""


def demo(
    ctx: typer.Context,
    *,
    again: Annotated[
        bool, typer.Option("--again", help="Train with a seed that was not used yet.")
    ] = False,
) -> None:
    """Train and measure five backbones and two detectors on real digits; print the leaderboard.

    Everything goes through the queue and a local Ray, in .convoy of the working folder (or
    --home). What an earlier call finished is shown, not done again; Ctrl-C leaves what is done.
    """
    from convoy.demo import enqueue
    from convoy.installation import install
    from convoy.settings import load
    from convoy.store import Store

    home = (invocation.of(ctx).home or Path.cwd() / ".convoy").expanduser().absolute()
    for done in install(home):
        say.line(done)
    settings = load(home=home)
    with Store.open(settings.store_url) as store:
        parts = enqueue(store, owner=settings.owner, again=again)
        _say_parts(parts, again=again)
        runs = _work(store, parts, settings=settings)
        _show_results(store, runs, settings=settings)


def _say_parts(parts: Sequence[Part], *, again: bool) -> None:
    found = [part.run for part in parts if not part.is_new]
    finished = sum(run.state.is_final for run in found)
    say.line(
        f"{len(parts)} runs: {len(parts) - len(found)} queued now, {finished} finished earlier"
    )
    if waiting := len(found) - finished:
        say.line(f"{waiting} runs of an interrupted call go on")
    if finished and not again:
        say.line("earlier results are shown as they are; --again trains with a new seed")


def _work(store: Store, parts: Sequence[Part], *, settings: Settings) -> list[Run]:
    """Keep a dispatcher until the runs have ended, and show them meanwhile."""
    from convoy import service
    from convoy.demo import are_over, present
    from convoy.errors import StoreAwayError
    from convoy.terminal.progress import showing

    log = settings.home / LOG
    command = service.dispatch_command(settings.home, "--until-idle")
    leads = any(dispatcher.alive and dispatcher.leads for dispatcher in store.dispatchers())
    children = [] if leads else [service.Child("dispatcher", command, log)]
    runs = present(store, parts)
    if are_over(runs):
        return runs
    say.line("a dispatcher is there already" if leads else f"starting Ray here; its log is {log}")
    with showing() as look:

        def tick() -> None:
            nonlocal runs
            with suppress(StoreAwayError):
                runs = present(store, parts)
            look(runs)

        name, status = service.keep(
            children, tick=tick, until=lambda: are_over(runs), pause_s=LOOK_S
        )
        runs = present(store, parts)
        look(runs)
    _require_all(runs, ended=name, status=status, settings=settings)
    return runs


def _require_all(runs: Sequence[Run], *, ended: str, status: int, settings: Settings) -> None:
    """Say how to go on when some runs are left."""
    from convoy.errors import LaunchError
    from convoy.listing import progress_text

    left = [run for run in runs if not run.state.is_final]
    if left and ended:
        raise LaunchError(
            f"the dispatcher ended with status {status} while {len(left)} runs were left "
            f"(run {left[0].id}: {progress_text(left[0])}); its log is {settings.home / LOG}"
        )
    if left:
        say.note(f"stopped; {len(runs) - len(left)} of {len(runs)} runs are done and kept")
        say.hint("the same command goes on with the rest", f"platform {_home(settings)}runs")
        raise typer.Exit(1)


def _show_results(store: Store, runs: Sequence[Run], *, settings: Settings) -> None:
    from convoy import demo as plan
    from convoy.cli.leaderboard import finished_runs
    from convoy.leaderboard import rows as leaderboard
    from convoy.states import RunState
    from convoy.terminal import ranking

    ranking.draw(leaderboard.leaderboard(finished_runs(store, study=plan.STUDY)))
    _say_times(store, runs)
    failed = [run for run in runs if run.state is not RunState.SUCCEEDED]
    for run in failed:
        say.note(f"run {run.id} {run.backbone} {run.state}: {run.failure_text}")
    place = f"http://127.0.0.1:{settings.dashboard_port}"
    say.note(f"dashboard: {_typed_as()} {_home(settings)}dashboard serves it at {place}")
    say.hint(
        f"platform {_home(settings)}dashboard", f"platform {_home(settings)}leaderboard --json"
    )
    if failed:
        raise typer.Exit(1)


def _typed_as() -> str:
    """Return what to type for this very command, which may not be on the PATH (`make demo`)."""
    here = Path(sys.argv[0])
    return "platform" if shutil.which("platform") else str(here)


def _say_times(store: Store, runs: Sequence[Run]) -> None:
    from convoy import demo as plan
    from convoy.terminal import tables

    spans = [(run, plan.spans(run, store.attempts(run.id))) for run in runs]
    rows = [
        [str(run.id), run.kind, run.backbone, *(_seconds(span) for span in astuple(found))]
        for run, found in spans
    ]
    table = tables.grid(
        ["run", "kind", "backbone", *HEADINGS],
        rows,
        right=("run", *HEADINGS),
        title="Where the time went, in seconds",
    )
    tables.console().print(table)


def _seconds(span: float | None) -> str:
    return "-" if span is None else f"{span:.1f}"


def _home(settings: Settings) -> str:
    """Return the option that names the home folder, where it must be said."""
    usual = settings.home == Path.cwd() / ".convoy"
    return "" if usual else f"--home {shlex.quote(str(settings.home))} "
