"""A study's table: each of its rows, measured or not yet, beside what its source prints. Pure.

A run counts for a study when it was queued for it, or when it trained one of its rows under its
very recipe, whoever asked for it: what was measured the same way may stand in the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from backbones.method import Published
from convoy.errors import ConvoyError
from convoy.leaderboard.measures import Measure, ranking, require, task_of
from convoy.leaderboard.publication import (
    TRAINING_IMAGES,
    Beside,
    compare,
    dataset_of,
    other_recipe,
    published_in,
)
from convoy.leaderboard.rows import BENCHMARK, Group, Row, Wanted, leaderboard
from convoy.records import Json, Run
from jobs import recipes
from jobs.studies import Study, StudyRow

_NEARLY = 0.98
"""Share of the training images that whole batches and sound files leave at the least."""

ABSENT = "not submitted"
MEASURED = "measured"
ELSEWHERE = "measured otherwise"


@dataclass(frozen=True)
class Line:
    """A row of a study.

    Attributes:
        row: As the study has it.
        published: What its source prints, if that is known.
        other_recipe: Under which the source trained it, where that is not the study's.
        measured: What was measured, in the study's first group; None: nothing yet.
        beside: Both compared; None where one is missing.
        reason: Why they cannot be compared, in a few words; empty when they can.
        state: ``measured``, ``measured otherwise``, ``not submitted``, or the state of the newest
            run.
        open_runs: Runs that are queued or running.
        runs: Runs behind the measured value; of a row without one the newest run.
    """

    row: StudyRow
    published: Published | None
    other_recipe: str
    measured: Row | None
    beside: Beside | None
    reason: str
    state: str
    open_runs: tuple[int, ...]
    runs: tuple[int, ...]


@dataclass(frozen=True)
class Board:
    """A study with all that is known about it.

    Attributes:
        study: Which.
        group: The rows that were measured under its recipe, if any, else under the one that most
            share; None: nothing was measured.
        lines: Every row of the study: measured ones ranked, then the others in the study's order.
        others: Rows that were measured otherwise.
        by: Name of the measure that ranks; empty: the task's own.
    """

    study: Study
    group: Group | None
    lines: tuple[Line, ...]
    others: tuple[Group, ...]
    by: str = ""

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What its rows are scored in."""
        return task_of(self.study.kind).applying(self.study.detector)

    @property
    def measure(self) -> Measure:
        """The measure that ranks, and that is compared with what is published."""
        found = ranking(self.measures, self.by)
        if found is None:
            raise ConvoyError(f"runs of kind {self.study.kind} have no score that ranks")
        return found

    @property
    def is_as_planned(self) -> bool:
        """Whether the measured rows were trained under the study's own recipe."""
        return self.group is not None and _is_planned(self.group, self.study)


def board(study: Study, runs: Iterable[Run], *, by: str = "", sort: str = "rank") -> Board:
    """Make the table of a study.

    Args:
        study: Which.
        runs: Any runs, ended or not.
        by: Name of the measure that ranks; empty: the task's own.
        sort: Order of the measured rows, as in `leaderboard`.

    Raises:
        ConvoyError: `by` or `sort` is unknown.
    """
    require(by, [study.kind])
    members = members_of(study, runs)
    groups = leaderboard(members, wanted=Wanted(task=study.kind), by=by, sort=sort)
    groups.sort(key=lambda group: not _is_planned(group, study))
    first = groups[0] if groups else None
    found = {row.backbone: row for row in first.rows} if first else {}
    order = [*found, *(text for text in study.by_backbone if text not in found)]
    tried: dict[str, list[Run]] = {text: [] for text in study.by_backbone}
    for run in members:
        if run.kind != BENCHMARK:
            tried[run.backbone].append(run)
    lines = tuple(_line(study, text, measured=found.get(text), runs=tried[text]) for text in order)
    return Board(study, first, lines, tuple(groups[1:]), by)


def members_of(study: Study, runs: Iterable[Run]) -> list[Run]:
    """Return the runs that count for a study, measurements of its rows included."""
    return [run for run in runs if _counts(run, study)]


def verdict(line: Line, measure: Measure) -> str:
    """Return how a measured value stands to the published one, in a few words.

    Args:
        line: A row of a board.
        measure: In which they are compared.
    """
    if line.reason:
        return f"not comparable: {line.reason}"
    found = line.beside.compared.get(measure.name) if line.beside else None
    if found is None:
        return ""
    noise = {True: " within noise", False: " beyond noise", None: ""}[found.within_noise]
    other = ", other recipe" if line.other_recipe else ""
    if line.published is not None and not line.published.recipe:
        other = ", their recipe not known"
    return f"{found.difference:+.{measure.digits}f}{noise}{other}"


def state_text(line: Line) -> str:
    """Return where a row stands, with the runs that are still to come."""
    if line.state == MEASURED and line.open_runs:
        return f"{MEASURED}, {len(line.open_runs)} to come"
    return line.state


def recipe_hash(run: Run) -> str:
    """Return the hash of the recipe of a run, ended or not; empty when it has none that reads."""
    facts = (run.result or {}).get("facts") or {}
    if "recipe_hash" in facts:
        return str(facts["recipe_hash"])
    model = recipes.MODELS.get(run.kind, recipes.TrainingRecipe)
    try:
        return model.model_validate(run.spec.get("recipe")).digest()
    except ValueError:  # of code from another time
        return ""


def _counts(run: Run, study: Study) -> bool:
    if run.backbone not in study.by_backbone:
        return False
    if run.kind == BENCHMARK:
        return True
    is_alike = run.kind == study.kind and (run.spec.get("detector") or None) == study.detector
    return is_alike and (run.study == study.name or recipe_hash(run) == study.recipe.digest())


def _is_planned(group: Group, study: Study) -> bool:
    return bool(group.key["recipe_hash"] == study.recipe.digest())


def _line(study: Study, text: str, *, measured: Row | None, runs: Sequence[Run]) -> Line:
    published = published_in(study, text)
    newest = max(runs, key=lambda run: run.id, default=None)
    beside, reason = None, ""
    if measured and measured.accuracy and published:
        facts = measured.key.facts()
        reason = _reason(study, facts)
        beside = compare(published, facts=facts, estimates=measured.accuracy.estimates)
        if reason:
            beside = replace(beside, comparable=False, compared={})
    return Line(
        study.by_backbone[text],
        published,
        other_recipe(study, text),
        measured,
        beside,
        reason,
        state=_state(measured, newest),
        open_runs=tuple(sorted(run.id for run in runs if not run.state.is_final)),
        runs=_runs(measured, newest),
    )


def _state(measured: Row | None, newest: Run | None) -> str:
    if measured is not None:
        return MEASURED
    if newest is None:
        return ABSENT
    return ELSEWHERE if newest.result else str(newest.state)


def _runs(measured: Row | None, newest: Run | None) -> tuple[int, ...]:
    if measured is not None and measured.accuracy is not None:
        return tuple(measured.accuracy.runs.values())
    return (newest.id,) if newest else ()


def _reason(study: Study, facts: Mapping[str, Json]) -> str:
    """Say why a result cannot stand beside the published one; empty when it can."""
    found = dataset_of(facts)
    seen = facts.get("train_samples_seen") or 0
    whole = study.recipe.epochs * TRAINING_IMAGES.get(found, 0)
    reasons = (
        (found != study.dataset, f"data set {found}"),
        (facts.get("recipe_hash") != study.recipe.digest(), f"recipe {facts.get('recipe')}"),
        (facts.get("split") != "val", f"scored on {facts.get('split')}"),
        (not _starts_alike(study, facts), f"from {facts.get('initial')}"),
        (seen < _NEARLY * whole, f"{seen:,} samples seen, not {whole:,}"),
    )
    return next((text for is_so, text in reasons if is_so), "")


def _starts_alike(study: Study, facts: Mapping[str, Json]) -> bool:
    """Whether a result began as published ones do: networks afresh, detectors from ImageNet."""
    return bool((facts.get("initial") == "scratch") == (study.detector is None))
