"""``platform export``: the weights of a run as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convoy.cli import invocation, say


def export(
    ctx: typer.Context,
    run_id: Annotated[int, typer.Argument(metavar="RUN", help="Number of the run.")],
    *,
    to: Annotated[Path, typer.Option(help="File to write, such as weights.safetensors.")],
    step: Annotated[
        int | None, typer.Option(help="Step of the checkpoint; the last one's if not said.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the weights that a run's score is about: safetensors, with the backbone's text.

    `--set initial=FILE` begins another run with them.
    """
    from convoy import weights_export

    call = invocation.of(ctx)
    settings = call.settings()
    with call.store() as store:
        run = store.run(run_id)
        checkpoints = store.checkpoints(run_id)
    written = weights_export.export(
        run, checkpoints, to, settings=settings, step=step, replace=force
    )
    if as_json:
        say.answer({"run": run_id, **say.plain(written)})
        return
    of = "averaged weights" if written.ema else "weights"
    say.line(
        f"{written.file}: {of} of {written.backbone} after {written.epoch} epochs "
        f"(step {written.step:,}), {written.mib:.1f} MiB"
    )
    if run.kind == weights_export.DETECT:
        say.hint(f"platform submit detect '{written.backbone}' --set initial={written.file} ...")
        return
    say.hint(
        f"platform describe '{written.backbone}' --weights {written.file} "
        f"--classes {written.classes}"
    )
