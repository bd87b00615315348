"""A study in the queue: rows to runs, and what a second submission finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convoy import repeatable, study
from convoy.errors import SubmissionError
from convoy.records import NewRun, Run
from convoy.repeatable import Part
from convoy.states import RunState
from convoy.store import Store
from convoy.submission import Wishes
from jobs import recipes, studies
from jobs.errors import SpecError
from jobs.studies import Study
from tests.platform.test_demo import fail

KW = studies.get("kw-resnet18-300e")
ON_DIGITS = {"data": "digits", "batch_size": 128}
WISHES = Wishes(owner="ada", workers=1)


@pytest.fixture
def store(sqlite_template: Path, tmp_path: Path) -> Iterator[Store]:
    file = tmp_path / "store.db"
    file.write_bytes(sqlite_template.read_bytes())
    with Store.open(f"sqlite:///{file}") as opened:
        yield opened


def variant(values: dict[str, Any] | None = None, **changes: Any) -> study.Variant:
    return study.Variant(ON_DIGITS if values is None else values, **changes)


def plan(which: Study, variant: study.Variant, *, wishes: Wishes) -> list[NewRun]:
    """The runs of a study that start from none of it."""
    runs = study.plan(which, variant, wishes=wishes)
    found = [run for run in runs if isinstance(run, NewRun)]
    assert len(found) == len(runs)
    return found


def ask(store: Store, which: Study = KW, **changes: Any) -> list[Part]:
    return repeatable.enqueue(store, study.plan(which, variant(**changes), wishes=WISHES))


def test_every_row_is_a_run_under_one_recipe() -> None:
    runs = plan(KW, variant(seeds=(0, 1)), wishes=WISHES)
    assert [run.backbone for run in runs[::2]] == list(KW.by_backbone)
    assert {run.study for run in runs} == {KW.name}
    assert {run.spec["seed"] for run in runs} == {0, 1}
    (recipe,) = {recipes.Recipe.model_validate(run.spec["recipe"]) for run in runs}
    assert recipe == KW.recipe.derive(name="kw_adv300(batch_size=128)", batch_size=128)
    assert len({run.key for run in runs}) == len(runs)


def test_as_published_each_row_has_the_recipe_of_its_source() -> None:
    runs = plan(KW, variant({"data": "digits"}, as_published=True), wishes=WISHES)
    assert {run.backbone: run.recipe for run in runs} == {
        "resnet18/conv": "kw_adv300",
        "resnet18/kernel_warehouse(budget=0.25)": "kw_adv300_unmixed",
        "resnet18/kernel_warehouse(budget=0.5)": "kw_adv300",
        "resnet18/kernel_warehouse": "kw_adv300_drop_path",
        "resnet18/kernel_warehouse(budget=2)": "kw_adv300_drop_path",
        "resnet18/kernel_warehouse(budget=4)": "kw_adv300_drop_path",
    }


def test_latency_is_measured_once_a_row_after_the_training() -> None:
    runs = plan(KW, variant(latency=True, seeds=(0, 1)), wishes=WISHES)
    measured = [run for run in runs if run.kind == study.MEASUREMENT]
    assert [run.backbone for run in measured] == list(KW.by_backbone)
    assert {(run.spec["image_size"], run.spec["classes"]) for run in measured} == {(224, 10)}
    trained = [run for run in runs if run.kind == KW.kind]
    assert max(run.priority for run in measured) < min(run.priority for run in trained)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, r"is about imagenet1k; say where its images are: --set data="),
        ({"data": "digits", "backbone": "resnet18/se"}, "backbone is of a row"),
        ({"data": "digits", "seed": 1}, "seed is of a row, not of a study; give --seeds"),
    ],
)
def test_what_a_study_cannot_take_is_said(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SubmissionError, match=message):
        plan(KW, variant(values), wishes=WISHES)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data": "digits", "recipe": {"epoch": 3}}, r"recipe.epoch: no such field; did you mean"),
        ({"data": "digits", "epochs": 3}, "warmup_epochs 20 leaves nothing of epochs 3"),
        ({"data": "digits", "epohcs": 3}, "epohcs: no such field"),
        ({"data": "digits", "recipe": "kw_adv30"}, "unknown recipe 'kw_adv30'"),
    ],
)
def test_a_wrong_change_of_the_recipe_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        plan(KW, variant(values), wishes=WISHES)


def test_a_second_submission_queues_nothing_twice(store: Store) -> None:
    first, second = ask(store), ask(store)
    assert [part.is_new for part in first] == [True] * len(KW.rows)
    assert [part.is_new for part in second] == [False] * len(KW.rows)
    assert [part.run.id for part in first] == [part.run.id for part in second]


def test_a_new_seed_is_queued_beside_the_old_ones(store: Store) -> None:
    ask(store)
    parts = ask(store, seeds=(0, 1))
    assert [part.is_new for part in parts] == [False, True] * len(KW.rows)
    assert repeatable.unused_seed(store.every()) == 2


def test_a_row_of_another_study_stands_for_its_twin(store: Store) -> None:
    ask(store)
    parts = ask(store, studies.get("kw-ablation-cells"))
    found = {part.run.backbone: part for part in parts}
    assert not found["resnet18/conv"].is_new
    assert found["resnet18/conv"].run.study == KW.name
    assert sum(part.is_new for part in parts) == 1


def test_rows_that_failed_are_taken_up_together(store: Store) -> None:
    first = ask(store)
    ended: list[Run] = [fail(store, part.run.id) for part in first[:2]]
    assert {run.state for run in ended} == {RunState.FAILED}
    parts = ask(store)
    assert [part.run.retry_of for part in parts[:3]] == [ended[0].id, ended[1].id, None]
    assert [part.is_new for part in parts] == [True, True, False, False, False, False]
    assert not any(part.is_new for part in ask(store))
