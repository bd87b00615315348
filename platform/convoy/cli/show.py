"""``platform show``: all about one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from convoy.cli import invocation, say

if TYPE_CHECKING:
    from convoy.records import Run
    from convoy.store import Store


def show(
    ctx: typer.Context,
    run_id: Annotated[int, typer.Argument(metavar="RUN", help="Number of the run.")],
    *,
    spec: Annotated[
        bool, typer.Option("--spec", help="Print the spec alone, as submit --file takes it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a run: state, why it waits or failed, progress, attempts, history, result, files."""
    with invocation.of(ctx).store() as store:
        run = store.run(run_id)
        if as_json:
            say.answer(_everything(store, run))
            return
        if spec:
            say.line(_spec_text(run))
            say.hint(f"platform submit {run.kind} --file FILE repeats it")
            return
        from convoy.terminal import portrait

        portrait.draw(store, run)
    say.hint(*next_steps(run))


def next_steps(run: Run) -> list[str]:
    """Return what one would type after looking at a run."""
    from convoy.states import RunState

    by_state = {
        RunState.QUEUED: [f"platform wait {run.id}", f"platform cancel {run.id}"],
        RunState.RUNNING: [f"platform logs {run.id} -f", f"platform cancel {run.id}"],
        RunState.SUCCEEDED: ["platform leaderboard", f"platform logs {run.id}"],
        RunState.FAILED: [f"platform logs {run.id}", f"platform retry {run.id}"],
        RunState.CANCELLED: [f"platform retry {run.id}", f"platform logs {run.id}"],
    }
    return by_state[run.state]


def _everything(store: Store, run: Run) -> dict[str, object]:
    return {
        **say.plain(run),
        "attempts": store.attempts(run.id),
        "history": store.history(run.id),
        "checkpoints": store.checkpoints(run.id),
        "artifacts": store.artifacts(run.id),
    }


def _spec_text(run: Run) -> str:
    import yaml

    text = yaml.safe_dump(dict(run.spec), sort_keys=False, allow_unicode=True, width=100)
    return str(text).rstrip()
