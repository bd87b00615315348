"""``platform retry``: take up an ended run."""

from __future__ import annotations

from typing import Annotated

import typer

from convoy.cli import invocation


def retry(
    ctx: typer.Context,
    run_id: Annotated[int, typer.Argument(metavar="RUN", help="A failed or cancelled run.")],
    *,
    workers: Annotated[int | None, typer.Option(help="Other than before: processes.")] = None,
    cpus: Annotated[float | None, typer.Option(help="Other than before: cores each.")] = None,
    gpus: Annotated[float | None, typer.Option(help="Other than before: GPUs each.")] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print the number of the new run alone.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the new run as JSON.")] = False,
) -> None:
    """Queue a new run with the spec of a failed or cancelled one, from its last checkpoint."""
    from convoy import lineage, submission
    from convoy.cli.submit import enqueue

    call = invocation.of(ctx)
    wishes = submission.Wishes(owner=call.settings().owner, workers=workers, cpus=cpus, gpus=gpus)
    with call.store() as store:
        ended = lineage.with_successors(store, store.run(run_id))
        new = submission.retry(ended, wishes=wishes)
    enqueue(call, [new], quiet=quiet, as_json=as_json)
