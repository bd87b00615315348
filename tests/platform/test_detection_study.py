"""A study of a detector in the queue: what its rows start from, and what is queued before them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convoy import lineage, repeatable, study
from convoy.errors import SubmissionError
from convoy.records import Following, NewRun
from convoy.repeatable import Part
from convoy.states import RunState
from convoy.store import Store
from convoy.submission import Wishes
from jobs import studies
from tests.platform.test_demo import fail

KW = studies.get("kw-mask-rcnn-1x")
R50, ONE = "resnet50/conv", "resnet50/kernel_warehouse"
SCENES = {"data": "digit_scenes"}
PARENT = {"parent": {"recipe": {"base": "kw_adv300", "batch_size": 128}, "data": "digits"}}
WISHES = Wishes(owner="ada", workers=1)


@pytest.fixture
def store(sqlite_template: Path, tmp_path: Path) -> Iterator[Store]:
    file = tmp_path / "store.db"
    file.write_bytes(sqlite_template.read_bytes())
    with Store.open(f"sqlite:///{file}") as opened:
        yield opened


def plan(values: dict[str, Any], **changes: Any) -> list[NewRun | Following]:
    return study.plan(KW, study.Variant({**SCENES, **values}, **changes), wishes=WISHES)


def single(values: dict[str, Any], **changes: Any) -> list[NewRun]:
    runs = [run for run in plan(values, **changes) if isinstance(run, NewRun)]
    assert len(runs) == len(plan(values, **changes))
    return runs


def ask(store: Store) -> list[Part]:
    new = plan(PARENT)
    lineage.check(store, new)
    return repeatable.enqueue(store, new)


def test_rows_without_a_start_are_named_with_what_would_do() -> None:
    with pytest.raises(SubmissionError, match=f"{ONE} and 3 more rows .* start from ImageNet"):
        plan({})


def test_what_the_user_says_goes_before_what_a_row_says() -> None:
    runs = single({"initial": "run:7"})
    assert {run.spec["initial"] for run in runs} == {"run:7"}
    assert {run.depends_on for run in runs} == {(7,)}


def test_rows_may_start_from_runs_of_their_own() -> None:
    others = [row.backbone for row in KW.rows if not row.initial]
    starts = {text: f"run:{number}" for number, text in enumerate(others, 3)}
    runs = {run.backbone: run for run in single({"initial": starts})}
    assert runs[R50].spec["initial"] == "pretrained"
    assert runs[R50].depends_on == ()
    assert [runs[text].spec["initial"] for text in others] == list(starts.values())
    assert {run.spec["detector"] for run in runs.values()} == {"mask_rcnn"}
    assert {run.recipe for run in runs.values()} == {"kw_detection_1x"}


def test_a_start_of_a_backbone_that_is_no_row_is_refused() -> None:
    with pytest.raises(SubmissionError, match="names resnet18/eca, which is no row of study kw-"):
        plan({"initial": {"resnet18/eca": "run:3"}})


def test_the_detector_is_the_study_s() -> None:
    with pytest.raises(SubmissionError, match="is about detector mask_rcnn; leave it away"):
        plan({"initial": "run:7", "detector": "faster_rcnn"})


def test_a_recipe_may_be_changed_for_all_rows() -> None:
    (recipe,) = {run.recipe for run in single({"initial": "run:7", "batch_size": 8})}
    assert recipe == "kw_detection_1x(batch_size=8)"


def test_as_published_each_row_has_the_recipe_of_its_source() -> None:
    runs = single({"initial": "run:7"}, as_published=True)
    recipes = {run.backbone: run.recipe for run in runs}
    assert recipes[R50] == recipes["mobilenetv2_100/kernel_warehouse"] == "kw_detection_1x"
    assert recipes[ONE] == "kw_detection_1x_drop_path"


def test_latency_is_measured_of_the_detector_at_its_size() -> None:
    runs = single({"initial": "run:7"}, latency=True)
    measured = [run for run in runs if run.kind == study.MEASUREMENT]
    assert [run.backbone for run in measured] == list(KW.by_backbone)
    (key,) = {
        (run.spec["detector"], run.spec["image_size"], run.spec["image_width"], "sizes" in run.spec)
        for run in measured
    }
    assert key == ("mask_rcnn", 800, 1280, False)


def test_each_row_waits_for_a_parent_of_its_own(store: Store) -> None:
    runs = [part.run for part in ask(store)]
    assert [run.kind for run in runs] == ["classify", "detect"] * len(KW.rows)
    for parent, child in zip(runs[::2], runs[1::2], strict=True):
        assert parent.backbone == child.backbone
        assert child.depends_on == (parent.id,)
        assert child.spec["initial"] == f"run:{parent.id}"


def test_a_second_submission_finds_parents_and_rows(store: Store) -> None:
    first, second = ask(store), ask(store)
    assert [part.run.id for part in first] == [part.run.id for part in second]
    assert not any(part.is_new for part in second)


def test_a_row_whose_parent_failed_starts_from_the_one_that_takes_it_up(store: Store) -> None:
    parent, child = (part.run for part in ask(store)[:2])
    fail(store, parent.id)
    store.request_cancel(child.id)
    again, row = (part.run for part in ask(store)[:2])
    assert (again.retry_of, row.retry_of) == (parent.id, child.id)
    assert row.state is RunState.QUEUED
    assert row.depends_on == (again.id,)
    assert row.spec["initial"] == f"run:{again.id}"
