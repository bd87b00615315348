"""``platform submit study``: every row of a published table into the queue."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convoy.cli import invocation, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from convoy.records import Run
    from convoy.repeatable import Part
    from convoy.study import Variant
    from convoy.submission import Wishes
    from jobs.studies import Study

STUDY = "study"


@dataclass(frozen=True)
class Asked:
    """The options of ``platform submit`` that only a study has.

    Attributes:
        again: Train with a seed that none of its runs had.
        as_published: Train each row as its source did.
        latency: Measure each row's latency, too.
    """

    again: bool
    as_published: bool
    latency: bool

    def refuse(self, kind: str) -> None:
        """Refuse them for another kind of run.

        Raises:
            SubmissionError: One was given.
        """
        from convoy.errors import SubmissionError

        for name, given in vars(self).items():
            if given:
                option = f"--{name.replace('_', '-')}"
                raise SubmissionError(f"{option} is for studies; {kind} does not know it")


@dataclass(frozen=True)
class Form:
    """How the answer of ``platform submit`` looks.

    Attributes:
        dry_run: Show what would be done, do nothing.
        quiet: Print the numbers of the runs alone.
        as_json: Print JSON.
    """

    dry_run: bool
    quiet: bool
    as_json: bool


def submit(
    call: invocation.Invocation,
    names: Sequence[str],
    *,
    file: Path | None,
    values: Mapping[str, Any],
    seeds: Sequence[int],
    asked: Asked,
    wishes: Wishes,
    form: Form,
) -> list[Run]:
    """Queue what is missing of a study, or show it; print what came of it.

    Args:
        call: Whose store.
        names: The study's, unless `file` holds one.
        file: A study of the user's own.
        values: What the user sets of spec and recipe.
        seeds: A run of each row for each.
        asked: Options that only a study has.
        wishes: What stands beside the specs.
        form: Of the answer.

    Returns:
        The runs, those that were there already included; none in a dry run.

    Raises:
        SubmissionError: Something is said that a study decides itself, or that it lacks.
        SpecError: The study or a value is wrong.
    """
    from convoy.study import Variant

    _require_own(asked, seeds=seeds, wishes=wishes)
    study = _find(names, file=file)
    variant = Variant(values, seeds, as_published=asked.as_published, latency=asked.latency)
    if form.dry_run:
        _preview(study, variant, wishes=wishes, file=file, as_json=form.as_json)
        return []
    parts, dispatched = _enqueue(call, study, variant, wishes=wishes, again=asked.again)
    runs = [part.run for part in parts]
    if form.as_json:
        say.answer_runs(runs)
    elif form.quiet:
        for run in runs:
            say.line(str(run.id))
    else:
        _say(study, parts)
        steps = [f"platform leaderboard --study {file or study.name}"]
        say.hint(*(steps if dispatched else ["platform up (no dispatcher runs yet)", *steps]))
    return runs


def _require_own(asked: Asked, *, seeds: Sequence[int], wishes: Wishes) -> None:
    """Refuse what a study decides itself."""
    from convoy.errors import SubmissionError

    if asked.again and seeds:
        raise SubmissionError("--again chooses the seed; give it or --seeds")
    for option, given in (("--key", wishes.key), ("--study", wishes.study)):
        if given is not None and given != "":
            raise SubmissionError(f"a study has its own keys and name; leave {option} away")


def _find(names: Sequence[str], *, file: Path | None) -> Study:
    """Return the study that is named, or that a file holds."""
    from convoy.errors import SubmissionError
    from jobs import studies

    if file is not None and not names:
        return studies.read(file)
    if len(names) != 1 or file is not None:
        raise SubmissionError(
            "name one study, or give --file with your own; platform studies lists them"
        )
    return studies.get(names[0])


def _preview(
    study: Study, variant: Variant, *, wishes: Wishes, file: Path | None, as_json: bool
) -> None:
    """Print the rows with what they cost and what is published."""
    from convoy import study as queueing
    from convoy import submission
    from convoy.records import Following
    from convoy.terminal import study as drawing

    has_data = bool(study.data or variant.values.get("data"))
    planned = queueing.plan(study, variant, wishes=wishes) if has_data else []
    spec = queueing.spec_of(study, variant.values)
    classes = submission.classes_of(spec) if has_data else None
    looked = drawing.look(study, cost=queueing.counter(spec, classes=classes))
    if as_json:
        say.answer([row.as_json() for row in looked])
        return
    drawing.draw(study, looked)
    if planned:
        kinds = [(run.make(0) if isinstance(run, Following) else run).kind for run in planned]
        say.line(f"{len(planned)} runs: {_kinds(kinds)}")
        say.hint("the same without --dry-run submits them")
    else:
        say.hint(f"{study.command(f'--file {file}' if file else '')} submits them")


def _enqueue(
    call: invocation.Invocation, study: Study, variant: Variant, *, wishes: Wishes, again: bool
) -> tuple[list[Part], bool]:
    """Queue what is missing; return all parts, and whether somebody dispatches."""
    from convoy import lineage, repeatable
    from convoy import study as queueing
    from convoy.leaderboard.study import members_of

    with call.store() as store:
        if again:
            changed = queueing.with_changes(study, variant.values)
            members = members_of(changed, store.every())
            earlier = [run for run in members if run.kind == study.kind]
            variant = replace(variant, seeds=[repeatable.unused_seed(earlier)])
        new = queueing.plan(study, variant, wishes=wishes)
        lineage.check(store, new)
        parts = repeatable.enqueue(store, new)
        return parts, any(dispatcher.alive for dispatcher in store.dispatchers())


def _say(study: Study, parts: Sequence[Part]) -> None:
    for part in parts:
        say.line(_sentence(part, study=study.name))
    made = sum(part.is_new for part in parts)
    say.line(f"study {study.name}: {made} runs queued, {len(parts) - made} were there already")
    if made < len(parts):
        say.note("--again trains every row with a seed that was not used yet")


def _sentence(part: Part, *, study: str) -> str:
    run = part.run
    seed = run.spec.get("seed")
    what = f"{run.kind} {run.backbone}" + (f" seed {seed}" if run.recipe else "")
    if not part.is_new:
        whose = f" for study {run.study}" if run.study and run.study != study else ""
        return f"run {run.id} was submitted before{whose} ({what}, {run.state})"
    taken = f", taking up run {run.retry_of}" if run.retry_of is not None else ""
    return f"run {run.id} queued: {what}{taken}"


def _kinds(kinds: Sequence[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in Counter(kinds).items())
