"""``platform submit``: runs into the queue."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convoy.cli import invocation, say, submit_study

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convoy.records import Following, NewRun, Run

SKIP_BAD = "skip_bad"
"""Field of a spec whose data are checked object by object."""


def submit(
    ctx: typer.Context,
    kind: Annotated[
        str, typer.Argument(help="What to do: classify, benchmark, ...; or study, then its name.")
    ],
    backbones: Annotated[
        list[str] | None,
        typer.Argument(help="Backbones, a run each, such as resnet18/eca; else --set backbone=..."),
    ] = None,
    *,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set", "-s", metavar="KEY=VALUE", help="A field of the spec; recipe.epochs=5 works."
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="YAML or JSON with fields of the spec, or of a study."),
    ] = None,
    seeds: Annotated[
        str, typer.Option(metavar="0,1,2", help="A run for each of these seeds.")
    ] = "",
    name: Annotated[str, typer.Option(help="What you call it.")] = "",
    study: Annotated[str, typer.Option(help="Study that the runs belong to.")] = "",
    priority: Annotated[int, typer.Option(help="Higher goes first.")] = 0,
    workers: Annotated[int | None, typer.Option(help="Processes that train together.")] = None,
    cpus: Annotated[float | None, typer.Option(help="Cores of each worker.")] = None,
    gpus: Annotated[float | None, typer.Option(help="GPUs of each worker.")] = None,
    after: Annotated[
        list[int] | None, typer.Option(metavar="RUN", help="Wait until this run has succeeded.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Submitting again with the same key makes no second run.")
    ] = None,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Go on without what the check of the data finds broken."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show spec, cost and resources; submit nothing.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print the numbers of the runs alone.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the runs as JSON.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Study: with a seed that none of its runs had.")
    ] = False,
    as_published: Annotated[
        bool, typer.Option("--as-published", help="Study: each row as its source trained it.")
    ] = False,
    latency: Annotated[
        bool, typer.Option("--latency", help="Study: measure each row's latency, too.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the runs have ended.")] = False,
) -> None:
    """Check a spec and queue it, one run for each backbone and seed, all or none.

    For example: platform submit classify resnet18/conv resnet18/eca --set data=digits
    --set recipe=digits_quick --seeds 0,1,2

    A run may start from another one's weights and waits for it: --set initial=run:12. That one may
    be submitted along, --set parent.KEY=VALUE being its spec; each backbone has one of its own:
    platform submit detect resnet18/conv --set recipe=digit_scenes_quick
    --set parent.recipe=digits_quick

    A study is a published table, each row a run: platform submit study kw-resnet18-300e
    --set data=/data/imagenet (platform studies lists them). Rows that are there already are told,
    not queued again.
    """
    from convoy import lineage, submission
    from convoy.values import read_numbers

    call = invocation.of(ctx)
    wishes = submission.Wishes(
        owner=call.settings().owner,
        name=name,
        priority=priority,
        workers=workers,
        cpus=cpus,
        gpus=gpus,
        after=tuple(after or ()),
        key=key,
        study=study,
    )
    asked = submit_study.Asked(again=again, as_published=as_published, latency=latency)
    numbers = read_numbers(seeds)
    if kind == submit_study.STUDY:
        made = submit_study.submit(
            call,
            backbones or (),
            file=file,
            values=_values(kind, file=None, sets=sets, skip_bad=skip_bad),
            seeds=numbers,
            asked=asked,
            wishes=wishes,
            form=submit_study.Form(dry_run=dry_run, quiet=quiet, as_json=as_json),
        )
    else:
        asked.refuse(kind)
        new = lineage.prepare(
            kind,
            _values(kind, file=file, sets=sets, skip_bad=skip_bad),
            wishes=wishes,
            backbones=backbones or (),
            seeds=numbers,
        )
        show = _show if dry_run else partial(enqueue, call, quiet=quiet)
        made = show(new, as_json=as_json)
    if wait and made:
        from convoy.cli.wait import wait_for

        wait_for(call, [run.id for run in made], quiet=quiet or as_json)


def _values(
    kind: str, *, file: Path | None, sets: list[str] | None, skip_bad: bool
) -> dict[str, Any]:
    """Return the fields of a spec (or of a study's) as they are typed."""
    from convoy.values import read_values
    from jobs import job

    values = read_values(file=file, sets=sets or ())
    if not skip_bad:
        return values
    if kind != submit_study.STUDY and SKIP_BAD not in job.get(kind).spec.model_fields:
        raise typer.BadParameter(
            f"a {kind} run has no such choice; leave it away", param_hint="--skip-bad"
        )
    return {**values, SKIP_BAD: True}


def enqueue(
    call: invocation.Invocation, new: Sequence[NewRun | Following], *, quiet: bool, as_json: bool
) -> list[Run]:
    """Submit checked runs and print what came of it."""
    from convoy import lineage

    with call.store() as store:
        lineage.check(store, new)
        known_until = store.now()
        runs = store.submit(new)
        dispatched = any(dispatcher.alive for dispatcher in store.dispatchers())
    if as_json:
        say.answer_runs(runs)
    elif quiet:
        for run in runs:
            say.line(str(run.id))
    else:
        for run in runs:
            say.line(_sentence(run, is_old=run.created_at < known_until))
        _hint(runs, dispatched=dispatched)
    return runs


def _sentence(run: Run, *, is_old: bool) -> str:
    what = f"{run.kind} {run.backbone}".strip()
    seed = run.spec.get("seed")
    with_seed = f" seed {seed}" if seed is not None else ""
    if is_old:
        return f"run {run.id} was submitted before with this key ({what}{with_seed}, {run.state})"
    after = "".join(f", after run {other}" for other in run.depends_on)
    return f"run {run.id} queued: {what}{with_seed}{after}"


def _hint(runs: list[Run], *, dispatched: bool) -> None:
    first, many = runs[0].id, " ".join(str(run.id) for run in runs[:8])
    steps = [f"platform wait {many}", f"platform logs {first} -f"]
    say.hint(*(steps if dispatched else ["platform up (no dispatcher runs yet)", *steps]))


def _show(new: Sequence[NewRun | Following], *, as_json: bool) -> list[Run]:
    """Print what would be submitted; submit nothing."""
    from convoy.records import Following
    from convoy.terminal import preview

    found = [preview.look(run.make(0) if isinstance(run, Following) else run) for run in new]
    if as_json:
        say.answer([item.as_json() for item in found])
        return []
    for item in found:
        say.line(item.as_text())
    if any(isinstance(run, Following) for run in new):
        say.note("run:0 stands for the parent, which has no number yet")
    say.hint("the same without --dry-run submits " + ("it" if len(new) == 1 else "them"))
    return []
