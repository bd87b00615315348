"""``platform cancel``: ask for the end of runs."""

from __future__ import annotations

from typing import Annotated

import typer

from convoy.cli import invocation, say


def cancel(
    ctx: typer.Context,
    run_ids: Annotated[list[int], typer.Argument(metavar="RUN...", help="Numbers of the runs.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the runs as JSON.")] = False,
) -> None:
    """Cancel runs: queued ones at once, running ones as soon as they have saved.

    A run that has ended is not cancelled; the others are, and the exit status is 1.
    """
    from convoy.errors import IllegalMoveError, RunNotFoundError

    runs, refused = [], []
    with invocation.of(ctx).store() as store:
        for run_id in dict.fromkeys(run_ids):
            try:
                runs.append(store.request_cancel(run_id))
            except (IllegalMoveError, RunNotFoundError) as error:
                refused.append(str(error))
    if as_json:
        say.answer_runs(runs)
    else:
        for run in runs:
            how = "is cancelled" if run.state.is_final else "was asked to stop; it saves first"
            say.line(f"run {run.id} {how}")
    for text in refused:
        say.note(f"error: {text}")
    if refused:
        raise typer.Exit(1)
    if not as_json:
        say.hint(*(f"platform {verb} {runs[0].id}" for verb in ("show", "retry")))
