"""``platform wait``: until runs have ended."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from convoy.cli import invocation, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from convoy.records import Run
    from convoy.store import Store

POLL_S = 0.5


def wait(
    ctx: typer.Context,
    run_ids: Annotated[list[int], typer.Argument(metavar="RUN...", help="Numbers of the runs.")],
    *,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds after which to give up (status 1).")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the ended runs as JSON.")] = False,
) -> None:
    """Wait until runs have ended. Status 0: all succeeded; 1: one did not, or time is up."""
    call = invocation.of(ctx)
    wait_for(call, run_ids, timeout_s=timeout, quiet=quiet or as_json, as_json=as_json)


def wait_for(
    call: invocation.Invocation,
    run_ids: Sequence[int],
    *,
    timeout_s: float | None = None,
    quiet: bool = False,
    as_json: bool = False,
) -> None:
    """Wait for runs and exit with status 1 unless all of them succeeded."""
    from convoy.states import RunState

    with call.store() as store:
        runs = _wait(store, run_ids, timeout_s=timeout_s, quiet=quiet)
    if as_json:
        say.answer_runs(runs)
    living = [str(run.id) for run in runs if not run.state.is_final]
    if living and not quiet:
        say.note(f"error: time is up; still going: {', '.join(living)}")
    bad = [run for run in runs if run.state.is_final and run.state is not RunState.SUCCEEDED]
    if not quiet:
        say.hint(*([f"platform show {bad[0].id}"] if bad else ["platform leaderboard"]))
    if bad or living:
        raise typer.Exit(1)


def _wait(
    store: Store, run_ids: Sequence[int], *, timeout_s: float | None, quiet: bool
) -> list[Run]:
    from convoy.errors import StoreAwayError

    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    runs = [store.run(run_id) for run_id in dict.fromkeys(run_ids)]
    with _watching(quiet=quiet) as look:
        while True:
            look(runs)
            late = deadline is not None and time.monotonic() >= deadline
            if late or all(run.state.is_final for run in runs):
                return runs
            time.sleep(POLL_S)
            try:
                runs = [run if run.state.is_final else store.run(run.id) for run in runs]
            except StoreAwayError as error:
                say.note(f"waiting for the store: {error}")


@contextmanager
def _watching(*, quiet: bool) -> Iterator[Callable[[Sequence[Run]], None]]:
    if quiet:
        yield lambda _: None
        return
    from convoy.terminal.progress import showing

    with showing() as look:
        yield look
