"""Runs that start from other runs, as a user submits, retries and looks at them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

CONV, ECA = "resnet18(stem=small)/conv", "resnet18(stem=small)/eca"
QUICK = ("--set", "data=digits", "--set", "recipe=digits_quick")
SCENES = ("--set", "recipe=digit_scenes_quick")
PARENT = ("--set", "parent.recipe=digits_quick", "--set", "parent.recipe.epochs=2")


def show(command: Any, run_id: int) -> dict[str, Any]:
    found: dict[str, Any] = command("show", str(run_id), "--json").json()
    return found


def test_a_detector_waits_for_the_run_that_trains_its_backbone(command: Any) -> None:
    parent = command("submit", "classify", ECA, *QUICK, "-q").out.strip()
    answer = command("submit", "detect", ECA, *SCENES, "--set", f"initial=run:{parent}")
    assert answer.out == f"run 2 queued: detect {ECA} seed 0, after run 1\n"
    run = show(command, 2)
    assert (run["depends_on"], run["spec"]["initial"]) == ([1], "run:1")
    assert re.search(r"^after +run 1$", command("show", "2").out, flags=re.MULTILINE)


def test_parents_are_submitted_along_each_backbone_its_own(command: Any) -> None:
    answer = command("submit", "detect", CONV, ECA, *SCENES, *PARENT, "--seeds", "0,1")
    assert answer.out.splitlines() == [
        f"run 1 queued: classify {CONV} seed 0",
        f"run 2 queued: detect {CONV} seed 0, after run 1",
        f"run 3 queued: detect {CONV} seed 1, after run 1",
        f"run 4 queued: classify {ECA} seed 0",
        f"run 5 queued: detect {ECA} seed 0, after run 4",
        f"run 6 queued: detect {ECA} seed 1, after run 4",
    ]
    assert show(command, 1)["spec"]["recipe"]["epochs"] == 2


def test_a_file_may_hold_the_parent_and_set_wins_over_it(command: Any, tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    parent = {"kind": "classify", "data": "digits", "recipe": "digits_quick", "seed": 4}
    spec = {"backbone": ECA, "recipe": "digit_scenes_quick", "parent": parent}
    file.write_text(yaml.safe_dump(spec))
    words = ("--file", str(file), "--set", "parent.recipe.epochs=3", "--quiet")
    assert command("submit", "detect", *words).out == "1\n2\n"
    spec = show(command, 1)["spec"]
    assert (spec["seed"], spec["recipe"]["epochs"]) == (4, 3)


def test_a_key_holds_back_a_second_family(command: Any) -> None:
    words = ("submit", "detect", ECA, *SCENES, *PARENT, "--key", "k")
    command(*words)
    again = command(*words)
    assert "run 1 was submitted before with this key" in again.out
    assert "run 2 was submitted before with this key" in again.out
    assert len(command("runs", "--json").json()) == 2


def test_a_fault_in_the_parent_leaves_nothing(command: Any) -> None:
    answer = command("submit", "detect", ECA, *SCENES, "--set", "parent.recipe=digits_quik")
    assert answer.status == 1
    assert "parent (classify): recipe" in answer.err
    assert "digits_quick" in answer.err
    assert command("runs", "--json").json() == []


def test_dry_run_shows_parent_and_child(command: Any) -> None:
    words = ("submit", "classify", ECA, *QUICK, *PARENT, "--dry-run")
    parent, child = command(*words, "--json").json()
    assert (parent["spec"]["initial"], child["spec"]["initial"]) == ("scratch", "run:0")
    assert "run:0 stands for the parent" in command(*words).err
    assert command("runs", "--json").json() == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("detect", ECA, *SCENES, "--set", "initial=run:9"), "there is no run 9"),
        (("detect", CONV, *SCENES, "--set", "initial=run:1"), "start from a run of the same"),
        (("detect", ECA, *SCENES, "--set", "initial=run:last"), "such as run:12"),
        (("detect", ECA, *SCENES, *PARENT, "--set", "initial=run:1"), "say it in one place"),
        (("classify", ECA, *QUICK, "--set", "initial=run:2"), "a classify run starts from a clas"),
        (("benchmark", ECA, *PARENT), "benchmark runs start from no other run"),
    ],
    ids=["absent", "backbone", "text", "twice", "kind", "none"],
)
def test_a_parent_that_cannot_serve_is_refused(
    command: Any, words: tuple[str, ...], says: str
) -> None:
    command("submit", "classify", ECA, *QUICK)
    command("submit", "detect", ECA, *SCENES)
    answer = command("submit", *words)
    assert answer.status == 1
    assert says in answer.err
    assert len(command("runs", "--json").json()) == 2


def test_a_child_is_retried_once_its_parent_was(command: Any, attempts: Any) -> None:
    command("submit", "classify", ECA, *QUICK, *PARENT)
    attempts.fail(1)
    command("cancel", "2")
    refused = command("retry", "2")
    assert refused.status == 1
    assert "platform retry 1 takes it up again" in refused.err
    assert command("retry", "1", "-q").out == "3\n"
    assert command("retry", "2", "-q").out == "4\n"
    again = show(command, 4)
    assert (again["depends_on"], again["spec"]["initial"]) == ([3], "run:3")
    assert again["retry_of"] == 2


def test_bad_data_may_be_skipped_where_that_is_a_choice(command: Any) -> None:
    command("submit", "detect", ECA, *SCENES, "--skip-bad")
    assert show(command, 1)["spec"]["skip_bad"] is True
    command("submit", "detect", ECA, *SCENES)
    assert show(command, 2)["spec"]["skip_bad"] is False


def test_elsewhere_skipping_bad_data_is_a_usage_error(command: Any) -> None:
    answer = command("submit", "classify", ECA, *QUICK, "--skip-bad")
    assert answer.status == 2
    assert "a classify run has no such choice" in answer.err
