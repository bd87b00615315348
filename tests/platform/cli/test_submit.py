from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

QUICK = ("--set", "data=digits", "--set", "recipe=digits_quick")
CONV = "resnet18(stem=small)/conv"
ECA = "resnet18(stem=small)/eca"


def ids(command: Any) -> list[int]:
    return [run["id"] for run in command("runs", "--json").json()]


def test_quiet_prints_the_number_alone(command: Any) -> None:
    answer = command("submit", "classify", ECA, *QUICK, "--quiet")
    assert (answer.status, answer.out, answer.err) == (0, "1\n", "")


def test_several_backbones_and_seeds_are_a_run_each(command: Any) -> None:
    answer = command("submit", "classify", CONV, ECA, *QUICK, "--seeds", "0-1", "--quiet")
    assert answer.out.split() == ["1", "2", "3", "4"]
    runs = command("runs", "--json").json()
    assert sorted((run["backbone"], run["spec"]["seed"]) for run in runs) == [
        (CONV, 0),
        (CONV, 1),
        (ECA, 0),
        (ECA, 1),
    ]


def test_one_bad_backbone_among_good_ones_leaves_nothing(command: Any) -> None:
    answer = command("submit", "classify", CONV, "resnet18/ecaa", *QUICK)
    assert answer.status == 1
    assert ids(command) == []


def test_a_recipe_may_be_named_and_changed_in_any_order(command: Any) -> None:
    sets = ("--set", "recipe.epochs=5", "--set", "data=digits", "--set", "recipe=digits_quick")
    command("submit", "classify", ECA, *sets)
    recipe = command("runs", "--json").json()[0]["spec"]["recipe"]
    assert recipe["epochs"] == 5
    assert recipe["name"].startswith("digits_quick")


def test_a_file_gives_the_spec_and_set_wins_over_it(command: Any, tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump({"backbone": ECA, "data": "digits", "recipe": "digits_quick"}))
    assert command("submit", "classify", "--file", str(file), "--set", "seed=7").status == 0
    spec = command("runs", "--json").json()[0]["spec"]
    assert (spec["backbone"], spec["seed"]) == (ECA, 7)


def test_the_spec_that_show_prints_can_be_submitted_again(command: Any, tmp_path: Path) -> None:
    command("submit", "classify", ECA, *QUICK)
    file = tmp_path / "again.yaml"
    file.write_text(command("show", "1", "--spec").out)
    assert command("submit", "classify", "--file", str(file), "-q").out == "2\n"
    first, second = command("show", "1", "--json").json(), command("show", "2", "--json").json()
    assert first["spec_hash"] == second["spec_hash"]


def test_a_second_submission_with_a_key_is_the_first_run(command: Any) -> None:
    words = ("submit", "classify", ECA, *QUICK, "--key", "nightly")
    assert "run 1 queued" in command(*words).out
    again = command(*words)
    assert again.status == 0
    assert "run 1 was submitted before with this key" in again.out
    assert command(*words, "--quiet").out == "1\n"
    assert ids(command) == [1]


def test_a_key_of_several_runs_names_each(command: Any) -> None:
    words = ("submit", "classify", CONV, ECA, *QUICK, "--key", "pair", "--quiet")
    assert command(*words).out == command(*words).out == "1\n2\n"


def test_resources_priority_name_and_order_are_kept(command: Any) -> None:
    command("submit", "classify", CONV, *QUICK)
    beside = ("--workers", "2", "--cpus", "1.5", "--priority", "3", "--name", "mine")
    more = (
        "--after",
        "1",
        "--study",
        "pilot",
        "--set",
        "recipe.batch_size=32",
        "--set",
        "recipe.micro_batch=16",
    )
    command("submit", "classify", ECA, *QUICK, *beside, *more)
    run = command("show", "2", "--json").json()
    assert run["resources"] == {"workers": 2, "cpus": 1.5, "gpus": 0.0}
    assert (run["priority"], run["name"], run["depends_on"]) == (3, "mine", [1])
    assert (run["study"], run["owner"]) == ("pilot", "ada")


def test_a_run_keeps_the_code_that_submitted_it(command: Any) -> None:
    command("submit", "classify", ECA, *QUICK)
    code = command("show", "1", "--json").json()["code"]
    assert len(code["commit"]) == 40
    assert code["dirty"] == bool(code.get("diff"))


def test_dry_run_shows_spec_cost_and_resources_and_submits_nothing(command: Any) -> None:
    answer = command("submit", "classify", ECA, *QUICK, "--dry-run", "--json")
    found = answer.json()[0]
    assert found["spec"]["recipe"]["epochs"] > 0
    assert found["cost"]["params"] > 11_000_000
    assert found["cost"]["classes"] == 10
    assert found["resources"]["workers"] == 1
    assert ids(command) == []


def test_dry_run_for_people_is_yaml(command: Any) -> None:
    answer = command("submit", "classify", ECA, *QUICK, "--dry-run")
    assert yaml.safe_load(answer.out)["spec"]["backbone"] == ECA
    assert "without --dry-run" in answer.err


def test_what_comes_next_is_said_beside_the_answer(command: Any) -> None:
    answer = command("submit", "classify", ECA, *QUICK)
    assert answer.out == f"run 1 queued: classify {ECA} seed 0\n"
    assert "platform up" in answer.err
    assert "platform wait 1" in answer.err


def test_submitted_runs_come_as_json(command: Any) -> None:
    answer = command("submit", "classify", ECA, *QUICK, "--json")
    assert [run["state"] for run in answer.json()] == ["queued"]
    assert answer.err == ""


@pytest.mark.parametrize("text", ["1e-3", "0.001"])
def test_a_small_number_is_read_as_a_number(command: Any, text: str) -> None:
    sets = ("--set", f"recipe.lr={text}")
    answer = command("submit", "classify", ECA, *QUICK, *sets, "--json")
    assert json.loads(answer.out)[0]["spec"]["recipe"]["lr"] == 0.001
