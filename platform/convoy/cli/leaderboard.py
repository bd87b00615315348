"""``platform leaderboard``: what was measured, ranked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convoy.cli import invocation, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from convoy.leaderboard.rows import Group
    from convoy.records import Run
    from convoy.store import Store
    from jobs.studies import Study


def leaderboard(
    ctx: typer.Context,
    *,
    task: Annotated[
        str, typer.Option(help="classify (if not said), detect, ...; benchmark ranks latency.")
    ] = "",
    study: Annotated[
        str,
        typer.Option(
            help="A study's table, rows not measured yet included (a name of platform studies, or "
            "a study file); of another name only its runs."
        ),
    ] = "",
    dataset: Annotated[str, typer.Option(help="Name, or start of the fingerprint.")] = "",
    recipe: Annotated[str, typer.Option(help="Name, or start of the hash.")] = "",
    by: Annotated[
        str,
        typer.Option(help="What ranks: top1 or top5; mask_ap, box_ap, box_ap50, ... of detect."),
    ] = "",
    sort: Annotated[
        str, typer.Option(help="Order of rows: rank, params, madds, latency, backbone.")
    ] = "rank",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX (booktabs).")] = False,
) -> None:
    """Rank what was measured the same way; what was measured otherwise stands apart."""
    from convoy.leaderboard.measures import CLASSIFY
    from convoy.leaderboard.rows import Wanted
    from convoy.leaderboard.rows import leaderboard as rank

    _require_task(task)
    forms = {"json": as_json, "csv": as_csv, "markdown": as_markdown, "latex": as_latex}
    form = next((name for name, asked in forms.items() if asked), "")
    with invocation.of(ctx).store() as store:
        if table := _study(store, study):
            _require_plain(study, task=task, dataset=dataset, recipe=recipe)
            print_study(store, table, by=by, sort=sort, form=form)
            return
        groups = rank(
            finished_runs(store, study=study),
            wanted=Wanted(task=task or CLASSIFY.name, dataset=dataset, recipe=recipe),
            by=by,
            sort=sort,
        )
        others = [] if task or groups else _scored_tasks(store)
    print_groups(groups, task=task or CLASSIFY.name, form=form)
    if not form:
        _say_next(groups, others)


def print_groups(groups: Sequence[Group], *, task: str, form: str) -> None:
    """Print the groups of a task in one of the forms; an empty one is for people."""
    from convoy.leaderboard import exports
    from convoy.leaderboard.measures import task_of
    from convoy.terminal import ranking

    if form == "json":
        say.answer(exports.as_json(groups))
    elif form == "csv":
        typer.echo(exports.as_csv(groups, task=task_of(task)), nl=False)
    elif form:
        texts = {"markdown": exports.as_markdown, "latex": exports.as_latex}
        typer.echo(texts[form](groups), nl=False)
    else:
        ranking.draw(groups)


def _say_next(groups: Sequence[Group], others: Sequence[str]) -> None:
    """Say what may be typed after a table; without one, which tasks have results."""
    if groups:
        run = next((row.accuracy for row in groups[0].rows if row.accuracy), None)
        shown = [f"platform show {next(iter(run.runs.values()))}"] if run else []
        say.hint(*shown, "platform leaderboard --latex", "platform dashboard")
    elif others:
        say.hint(*(f"platform leaderboard --task {name}" for name in others))
    else:
        say.hint("platform runs", "platform submit classify resnet18/eca --set data=digits ...")


def _scored_tasks(store: Store) -> list[str]:
    """Return the tasks of which there are results."""
    from convoy.leaderboard.accuracy import facts_of, is_scored

    found = {str(facts_of(run).get("task")) for run in finished_runs(store) if is_scored(run)}
    return sorted(found)


def finished_runs(store: Store, *, study: str = "") -> Iterator[Run]:
    """Read every run that succeeded."""
    from convoy.records import Filter
    from convoy.states import RunState

    return store.every(Filter(states=(RunState.SUCCEEDED,), study=study))


def print_study(store: Store, table: Study, *, by: str, sort: str, form: str) -> None:
    """Print the table of a study in one of its forms; an empty one is for people."""
    from convoy.leaderboard import study, study_exports
    from convoy.terminal import ranking, study_ranking
    from jobs import studies

    board = study.board(table, store.every(), by=by, sort=sort)
    if form == "json":
        say.answer(study_exports.as_json(board))
        return
    texts = {
        "csv": study_exports.as_csv,
        "markdown": study_exports.as_markdown,
        "latex": study_exports.as_latex,
    }
    if form:
        typer.echo(texts[form](board), nl=False)
        return
    study_ranking.draw(board)
    if board.others:
        ranking.draw(board.others, apart=True)
    absent = any(line.state == study.ABSENT for line in board.lines)
    own = table.name not in studies.names()
    named = f"--file {table.name}.yaml" if own else table.name
    missing = [table.command(named)] if absent else []
    say.hint(*missing, "the same with --latex, --csv, --markdown or --json")


def _study(store: Store, name: str) -> Study | None:
    """Return the study of a name or file; None for a name that only runs bear.

    Raises:
        SpecError: Neither studies nor runs have that name.
    """
    from convoy.records import Filter
    from jobs import studies

    if not name:
        return None
    if name.endswith((".yaml", ".yml")):
        return studies.read(Path(name))
    if name not in studies.names() and store.runs(Filter(study=name), limit=1):
        return None
    return studies.get(name)


def _require_task(task: str) -> None:
    """Refuse a task of which nothing can ever be ranked.

    Raises:
        ConvoyError: Names the known ones.
    """
    from backbones.errors import near
    from convoy.errors import ConvoyError
    from convoy.leaderboard.measures import TASKS
    from convoy.leaderboard.rows import BENCHMARK

    known = [BENCHMARK, *TASKS]
    if task and task not in known:
        raise ConvoyError(f"unknown task {task!r}; {near(task, known)}")


def _require_plain(study: str, *, task: str, dataset: str, recipe: str) -> None:
    """Refuse filters that a study's table does not know, instead of ignoring them.

    Raises:
        ConvoyError: One was given.
    """
    from convoy.errors import ConvoyError

    for option, given in (("--dataset", dataset), ("--recipe", recipe)):
        if given:
            raise ConvoyError(f"study {study} has a recipe and a data set; leave {option} away")
    if task:
        raise ConvoyError(f"study {study} knows what its rows are scored for; leave --task away")
