"""Runs that start from other runs: made with them, checked against them, retried after them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from convoy import lineage, submission
from convoy.errors import RunNotFoundError, SubmissionError
from convoy.records import Following, NewRun, Run
from convoy.states import Failure, Outcome
from convoy.store import Store
from convoy.submission import Wishes
from jobs.errors import SpecError

ADA = Wishes(owner="ada")
CONV, ECA = "resnet18(stem=small)/conv", "resnet18(stem=small)/eca"
VALUES: dict[str, Any] = {"data": "digits", "recipe": "digits_quick"}
FIRST: dict[str, Any] = {"recipe": {"base": "digits_quick", "epochs": 2}}
WITH_PARENT = {**VALUES, "parent": FIRST}


@pytest.fixture
def queue(long_store: Store) -> Iterator[Callable[..., list[Run]]]:
    """Prepares, checks and submits, as the command does."""

    def submit(kind: str = "classify", **changes: Any) -> list[Run]:
        new = prepare(kind, **changes)
        lineage.check(long_store, new)
        return long_store.submit(new)

    yield submit
    for run in long_store.every():
        if not run.state.is_final:
            long_store.request_cancel(run.id)


def prepare(kind: str = "classify", **changes: Any) -> list[NewRun | Following]:
    asked: dict[str, Any] = {"wishes": ADA, "backbones": [ECA], "values": VALUES, **changes}
    return lineage.prepare(kind, asked.pop("values"), **asked)


def end(desk: Any, run: Run, *, outcome: Outcome, **more: Any) -> None:
    number = desk.start(run.id).number
    desk.store.end(run.id, number, outcome=outcome, **more)


def fail(desk: Any, run: Run) -> None:
    end(desk, run, outcome=Outcome.FAILED, failure=Failure.CODE)


def test_a_run_that_starts_from_another_waits_for_it(queue: Any) -> None:
    (parent,) = queue()
    (child,) = queue(values={**VALUES, "initial": f"run:{parent.id}", "seed": 1})
    assert child.depends_on == (parent.id,)
    assert child.spec["initial"] == f"run:{parent.id}"


def test_what_else_it_waits_for_stays(queue: Any) -> None:
    other, parent = queue(seeds=[0, 1])
    (child,) = queue(
        values={**VALUES, "initial": f"run:{parent.id}", "seed": 2},
        wishes=Wishes("ada", after=(other.id, parent.id)),
    )
    assert child.depends_on == (other.id, parent.id)


def test_a_parent_is_submitted_along_and_its_child_waits_for_it(queue: Any) -> None:
    parent, child = queue(values=WITH_PARENT)
    assert (parent.kind, parent.backbone, parent.depends_on) == ("classify", ECA, ())
    assert (parent.spec["recipe"]["epochs"], parent.spec["initial"]) == (2, "scratch")
    assert (child.depends_on, child.spec["initial"]) == ((parent.id,), f"run:{parent.id}")
    (same,) = submission.prepare(
        "classify", {**VALUES, "initial": f"run:{parent.id}"}, wishes=ADA, backbones=[ECA]
    )
    assert child.spec_hash == same.spec_hash


def test_each_backbone_has_a_parent_of_its_own_and_seeds_share_it(queue: Any) -> None:
    runs = queue(values=WITH_PARENT, backbones=[CONV, ECA], seeds=[0, 1])
    first = runs[0].id
    assert [(run.backbone, run.spec["seed"]) for run in runs] == [
        *((CONV, seed) for seed in (0, 0, 1)),
        *((ECA, seed) for seed in (0, 0, 1)),
    ]
    needs = [run.depends_on for run in runs]
    second = runs[3].id
    assert needs == [(), (first,), (first,), (), (second,), (second,)]


def test_a_parent_may_have_a_parent(queue: Any) -> None:
    parent = {"parent": FIRST, "recipe": {"base": "digits_quick", "epochs": 3}}
    runs = queue(values={**VALUES, "parent": parent}, backbones=[CONV, ECA])
    assert [run.spec["recipe"]["epochs"] for run in runs[:3]] == [
        2,
        3,
        runs[2].spec["recipe"]["epochs"],
    ]
    for first in (0, 3):
        oldest, middle, youngest = runs[first : first + 3]
        assert (oldest.depends_on, oldest.spec["initial"]) == ((), "scratch")
        assert middle.depends_on == (oldest.id,)
        assert youngest.depends_on == (middle.id,)


def test_a_parent_takes_what_its_child_takes_unless_said(queue: Any) -> None:
    wishes = Wishes("ada", cpus=2.0, priority=3, study="s", name="n")
    parent, child = queue(values=WITH_PARENT, wishes=wishes)
    assert parent.resources == child.resources
    assert (parent.priority, parent.study, parent.name) == (3, "s", "n")
    own = {**FIRST, "cpus": 1.5, "gpus": 0}
    parent, child = queue(values={**VALUES, "parent": own}, wishes=wishes)
    assert (parent.resources.cpus, child.resources.cpus) == (1.5, 2.0)


def test_the_same_key_makes_neither_a_second_child_nor_a_second_parent(queue: Any) -> None:
    wishes = Wishes("ada", key="family")
    asked = {"values": WITH_PARENT, "wishes": wishes, "backbones": [CONV, ECA], "seeds": [0, 1]}
    first = queue(**asked)
    again = queue(**asked)
    assert [run.id for run in again] == [run.id for run in first]
    assert [run.key for run in first[:3]] == ["family#1:parent", "family#1", "family#2"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({**WITH_PARENT, "initial": "pretrained"}, "'pretrained', and parent says .* one place"),
        ({**VALUES, "parent": "classify"}, r"parent is 'classify'.*--set parent\.recipe=NAME"),
        ({**VALUES, "parent": {**FIRST, "backbone": ECA}}, r"leave parent\.backbone away"),
        (
            {**VALUES, "parent": {**FIRST, "kind": "benchmark"}},
            r"parent\.kind is benchmark; a classify run starts from a classify run",
        ),
        ({**VALUES, "parent": {**FIRST, "cpus": "many"}}, r"parent\.cpus is 'many'; expected a n"),
        ({**VALUES, "parent": {**FIRST, "workers": 1.5}}, r"parent\.workers is 1\.5; expected"),
    ],
)
def test_a_parent_that_cannot_be_is_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(SubmissionError, match=says):
        prepare(values=values)


def test_faults_in_a_parents_spec_are_told_as_its_own() -> None:
    with pytest.raises(SpecError, match=r"^parent \(classify\): seeds: no such field.*'?seed'?"):
        prepare(values={**VALUES, "parent": {**FIRST, "seeds": 1}})


def test_a_kind_that_starts_from_nothing_takes_no_parent() -> None:
    with pytest.raises(SubmissionError, match="benchmark runs start from no other run"):
        prepare("benchmark", values={"parent": FIRST})


def test_a_parent_of_another_backbone_is_refused(queue: Any) -> None:
    (parent,) = queue(backbones=[CONV])
    with pytest.raises(SubmissionError, match=rf"run {parent.id} is about .*conv, whose weights"):
        queue(values={**VALUES, "initial": f"run:{parent.id}"})


def test_a_parent_of_another_kind_is_refused(queue: Any) -> None:
    (timed,) = queue("benchmark", values={})
    with pytest.raises(
        SubmissionError, match=f"run {timed.id} is a benchmark run; a classify run starts from"
    ):
        queue(values={**VALUES, "initial": f"run:{timed.id}"})


def test_a_parent_that_is_not_there_is_refused(queue: Any) -> None:
    with pytest.raises(RunNotFoundError, match="no run 99999"):
        queue(values={**VALUES, "initial": "run:99999"})
    with pytest.raises(RunNotFoundError, match="no run 0"):
        queue(values={**VALUES, "initial": "run:0"})


def test_a_parent_that_failed_is_refused_and_told_how_to_go_on(queue: Any, long_desk: Any) -> None:
    (parent,) = queue()
    fail(long_desk, parent)
    with pytest.raises(SubmissionError, match=f"platform retry {parent.id} takes it up again"):
        queue(values={**VALUES, "initial": f"run:{parent.id}"})


def test_a_child_is_retried_after_the_run_that_took_up_its_parent(
    queue: Any, long_desk: Any
) -> None:
    store: Store = long_desk.store
    parent, child = queue(values=WITH_PARENT)
    fail(long_desk, parent)
    store.fail_queued(child.id, failure=Failure.DEPENDENCY, text="its parent failed")
    ended = store.run(child.id)
    unchanged = submission.retry(lineage.with_successors(store, ended), wishes=ADA)
    with pytest.raises(SubmissionError, match=f"run {parent.id} is failed"):
        lineage.check(store, [unchanged])
    (second,) = store.submit([submission.retry(store.run(parent.id), wishes=ADA)])
    fail(long_desk, second)
    (third,) = store.submit([submission.retry(store.run(second.id), wishes=ADA)])
    new = submission.retry(lineage.with_successors(store, ended), wishes=ADA)
    assert (new.depends_on, new.spec["initial"]) == ((third.id,), f"run:{third.id}")
    assert new.retry_of == child.id
    assert new.spec_hash != ended.spec_hash, "weights of another run are another experiment"
    lineage.check(store, [new])


def test_a_retry_whose_parent_succeeded_keeps_its_spec(queue: Any, long_desk: Any) -> None:
    store: Store = long_desk.store
    parent, child = queue(values=WITH_PARENT)
    end(long_desk, parent, outcome=Outcome.SUCCEEDED, result={})
    fail(long_desk, child)
    again = submission.retry(lineage.with_successors(store, store.run(child.id)), wishes=ADA)
    assert (again.spec_hash, again.depends_on) == (child.spec_hash, (parent.id,))
