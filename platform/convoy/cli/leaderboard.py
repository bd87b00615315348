"""``platform leaderboard``: what was measured, ranked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from convoy.cli import invocation, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from convoy.records import Run
    from convoy.store import Store

BATCH = 1000


def leaderboard(
    ctx: typer.Context,
    *,
    task: Annotated[str, typer.Option(help="classify, ...; benchmark ranks latency.")] = "classify",
    study: Annotated[str, typer.Option(help="Only this study's runs.")] = "",
    dataset: Annotated[str, typer.Option(help="Name, or start of the fingerprint.")] = "",
    recipe: Annotated[str, typer.Option(help="Name, or start of the hash.")] = "",
    by: Annotated[str, typer.Option(help="What ranks: top1 or top5.")] = "top1",
    sort: Annotated[
        str, typer.Option(help="Order of rows: rank, params, madds, latency, backbone.")
    ] = "rank",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX (booktabs).")] = False,
) -> None:
    """Rank what was measured the same way; what was measured otherwise stands apart."""
    from convoy.leaderboard import exports
    from convoy.leaderboard.rows import Wanted
    from convoy.leaderboard.rows import leaderboard as rank

    with invocation.of(ctx).store() as store:
        groups = rank(
            finished_runs(store, study=study),
            wanted=Wanted(task=task, dataset=dataset, recipe=recipe),
            by=by,
            sort=sort,
        )
    if as_json:
        say.answer(exports.as_json(groups))
        return
    forms = (
        (as_csv, exports.as_csv),
        (as_markdown, exports.as_markdown),
        (as_latex, exports.as_latex),
    )
    for asked, form in forms:
        if asked:
            typer.echo(form(groups), nl=False)
            return
    from convoy.terminal import ranking

    ranking.draw(groups)
    if groups:
        run = next((row.accuracy for row in groups[0].rows if row.accuracy), None)
        shown = [f"platform show {next(iter(run.runs.values()))}"] if run else []
        say.hint(*shown, "platform leaderboard --latex", "platform dashboard")
    else:
        say.hint("platform runs", "platform submit classify resnet18/eca --set data=digits ...")


def finished_runs(store: Store, *, study: str = "") -> Iterator[Run]:
    """Read every run that succeeded, a thousand at a time."""
    from convoy.records import Filter
    from convoy.states import RunState

    which, before = Filter(states=(RunState.SUCCEEDED,), study=study), None
    while found := store.runs(which, limit=BATCH, before=before):
        yield from found
        before = found[-1].id
