"""Studies from the terminal: listed, queued, trained for real, and their tables printed."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest

from jobs import recipes, studies

KW = "kw-resnet18-300e"
MASKS = "kw-mask-rcnn-1x"
ON_DIGITS = ("--set", "data=digits", "--set", "recipe.batch_size=128")
SUBMIT = ("submit", "study", KW, *ON_DIGITS)

OWN = """
title: Plain and ECA on few digits
data: digits
dataset: digits
recipe: {base: digits_quick, epochs: 1, warmup_epochs: 0}
rows:
  - resnet20_cifar/conv
  - resnet20_cifar/eca
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "pair.yaml"
    file.write_text(OWN)
    return file


def test_studies_are_listed_with_their_recipe(command: Any) -> None:
    answer = command("studies")
    for name in studies.names():
        assert name in answer.out
    assert "kw_adv300_drop_path" in answer.out
    assert f"platform submit study {studies.names()[0]}" in answer.err


def test_recipes_are_listed_and_one_is_shown_with_its_values(command: Any) -> None:
    out = command("recipes").out
    assert all(name in out for name in recipes.names())
    assert "weight_decay" in command("recipes", "kw_adv300").out
    (shown,) = command("recipes", "od_mbv2_150", "--json").json()
    assert (shown["lr"], shown["epochs"]) == (0.05, 150)
    assert "known: " in command("recipes", "nonsense").out


def test_studies_can_be_narrowed_by_what_they_compare(command: Any) -> None:
    found = [study["name"] for study in command("studies", "odconv", "--json").json()]
    assert {"od-resnet-100e", "resnet18-100e"} <= set(found)
    assert KW not in found


def test_a_study_that_is_named_shows_its_rows_and_figures(command: Any) -> None:
    out = command("studies", KW).out
    (line,) = [line for line in out.splitlines() if "(budget=0.25)" in line]
    assert line.split()[1:3] == ["72.73", "4.08"]
    assert "theirs: kw_adv300_unmixed" in line
    assert "published figures: OSVAI/KernelWarehouse README.md" in out


def test_a_file_of_one_s_own_is_shown(command: Any, own: Path) -> None:
    assert "Plain and ECA on few digits" in command("studies", str(own)).out


def test_every_row_is_queued_and_found_again(command: Any) -> None:
    first = command(*SUBMIT)
    assert first.status == 0
    assert first.out.count(" queued: classify ") == len(studies.get(KW).rows)
    assert f"platform leaderboard --study {KW}" in first.err
    again = command(*SUBMIT)
    assert "run 1 was submitted before (classify resnet18/conv seed 0, queued)" in again.out
    assert f"study {KW}: 0 runs queued, 6 were there already" in again.out
    assert len(command("runs", "--study", KW, "--json").json()) == 6


def test_again_trains_with_a_new_seed(command: Any) -> None:
    command(*SUBMIT)
    runs = command(*SUBMIT, "--again", "--json").json()
    assert {run["spec"]["seed"] for run in runs} == {1}
    assert {run["id"] for run in runs} == set(range(7, 13))


def test_again_skips_the_seeds_of_rows_that_another_study_queued(command: Any) -> None:
    command(*SUBMIT)
    runs = command("submit", "study", "kw-ablation-cells", *ON_DIGITS, "--again", "--json").json()
    assert {run["spec"]["seed"] for run in runs} == {1}


def test_quiet_prints_numbers_alone(command: Any) -> None:
    answer = command(*SUBMIT, "--seeds", "0,1", "--latency", "--quiet")
    assert answer.out.split() == [str(number) for number in range(1, 19)]
    assert answer.err == ""


def test_dry_run_shows_costs_and_figures_and_needs_no_data(command: Any) -> None:
    answer = command("submit", "study", "kw-ablation-cells", "--dry-run")
    assert answer.status == 0
    (line,) = [one for one in answer.out.splitlines() if "cell_out_ratio" in one]
    assert "14.230" in line
    assert "--set data=<folder>" in answer.err
    rows = command("submit", "study", "kw-ablation-cells", *ON_DIGITS, "--dry-run", "--json").json()
    assert rows[0]["cost"]["params"] < 11_689_512  # ten classes, not a thousand
    assert command("runs", "--json").json() == []


def test_one_wrong_field_leaves_nothing(command: Any) -> None:
    answer = command(*SUBMIT, "--set", "recipe.epoch=5")
    assert answer.status == 1
    assert "did you mean epochs" in answer.err
    assert command("runs", "--json").json() == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("submit", "study"), "name one study, or give --file"),
        (("submit", "study", KW, "od-resnet-100e"), "name one study"),
        (("submit", "study", "kw-resnet18"), "unknown study 'kw-resnet18'; did you mean"),
        (("submit", "study", KW), "is about imagenet1k; say where its images are: --set data="),
        ((*SUBMIT, "--key", "k"), "a study has its own keys and name; leave --key away"),
        ((*SUBMIT, "--study", "mine"), "leave --study away"),
        ((*SUBMIT, "--again", "--seeds", "1"), "--again chooses the seed"),
        (
            ("submit", "classify", "resnet18/conv", "--set", "recipe=digits_quick", "--again"),
            "--again is for studies; classify does not know it",
        ),
        (("leaderboard", "--study", "kw-resnet18"), "unknown study 'kw-resnet18'; did you mean"),
        (("leaderboard", "--study", KW, "--recipe", "x"), "leave --recipe away"),
        (("leaderboard", "--task", "classfy"), "unknown task 'classfy'; did you mean classify"),
        (("leaderboard", "--task", "foo"), "known: benchmark, classify, detect"),
        (("leaderboard", "--by", "mask_ap"), "unknown measure 'mask_ap' of classify; known: top1"),
        (("leaderboard", "--task", "detect", "--by", "top1"), "of detect; known: mask_ap, box_ap,"),
        (("leaderboard", "--study", KW, "--task", "classify"), "leave --task away"),
        (("leaderboard", "--study", MASKS, "--by", "top1"), "of detect; known: mask_ap, box_ap,"),
        (("submit", "study", MASKS), "is about coco2017; say where its images are: --set data="),
        (("submit", "study", MASKS, "--set", "data=digit_scenes"), "train them first, each for"),
    ],
)
def test_what_cannot_be_is_refused(command: Any, words: tuple[str, ...], message: str) -> None:
    answer = command(*words)
    assert answer.status == 1
    assert message in answer.err


def test_a_study_of_a_detector_is_queued_behind_its_parents(command: Any) -> None:
    parent = ("--set", "parent.recipe=kw_adv300", "--set", "parent.data=digits")
    smaller = ("--set", "parent.recipe.batch_size=128")
    answer = command("submit", "study", MASKS, "--set", "data=digit_scenes", *parent, *smaller)
    assert answer.status == 0
    rows = len(studies.get(MASKS).rows)
    assert answer.out.count(" queued: classify ") == answer.out.count(" queued: detect ") == rows
    found = {run["id"]: run for run in command("runs", "--json").json()}
    assert found[2]["depends_on"] == [1]
    table = command("leaderboard", "--study", MASKS)
    assert "Published box AP (%)" in table.out
    assert table.out.count(" queued ") == rows


def test_a_study_of_a_detector_says_how_it_is_submitted(command: Any) -> None:
    answer = command("studies", MASKS)
    assert "published mask AP %" in answer.out
    assert "--set parent.recipe=<recipe> --set parent.data=<ImageNet>" in answer.err


def test_the_leaderboard_of_nothing_has_a_line_of_headings(command: Any) -> None:
    assert command("leaderboard", "--csv").out.startswith("rank,backbone,network,method,")


def test_a_study_that_nobody_submitted_has_a_table(command: Any) -> None:
    answer = command("leaderboard", "--study", KW)
    assert answer.status == 0
    assert answer.out.count("not submitted") == 6
    assert "76.05" in answer.out
    assert f"platform submit study {KW} --set data=<folder>" in answer.err


def test_a_name_that_only_runs_bear_filters_them(command: Any, attempts: Any, result: Any) -> None:
    words = ("--set", "data=digits", "--set", "recipe=digits_quick")
    command("submit", "classify", "resnet18/eca", "--study", "pilot", *words)
    attempts.succeed(1, result(88.0))
    (row,) = command("leaderboard", "--study", "pilot", "--json").json()
    assert row["accuracy"]["top1_pct"] == 88.0


def test_a_study_goes_from_its_file_to_measured_values(command: Any, own: Path) -> None:
    words = ("--set", "recipe.image_size=8", "--set", "train_pct=20")
    queued = command("submit", "study", "--file", str(own), *words)
    assert queued.status == 0, queued.whole
    assert f"platform leaderboard --study {own}" in queued.err
    answer = command.apart("dispatch", "--launcher", "inline", "--until-idle")
    assert answer.status == 0, answer.whole
    board = command("leaderboard", "--study", str(own))
    assert board.status == 0, board.whole
    assert "Plain and ECA on few digits" in board.out
    for backbone in ("resnet20_cifar/conv", "resnet20_cifar/eca"):
        (line,) = [line for line in board.out.splitlines() if f" {backbone} " in line]
        assert re.search(r"\d+\.\d\d \[\d", line)
        assert " measured " in line
    lines = list(
        csv.DictReader(io.StringIO(command("leaderboard", "--study", str(own), "--csv").out))
    )
    assert {line["state"] for line in lines} == {"measured"}
    by_name = command("leaderboard", "--study", "pair", "--json").json()
    assert {row["backbone"] for row in by_name} == {line["backbone"] for line in lines}
