"""A study's table: what is measured, what is not yet, and what may be compared."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest

from convoy.leaderboard import study_exports as exports
from convoy.leaderboard.exports import latency_notes
from convoy.leaderboard.study import Board, Line, board, state_text, verdict
from convoy.records import Run
from convoy.states import RunState
from convoy.terminal import study_ranking
from jobs import studies
from tests.platform.test_leaderboard import timed, trained

KW = studies.get("kw-resnet18-300e")
CONV, HALF, ONE = (f"resnet18/{name}" for name in ("conv", "kernel_warehouse(budget=0.5)", ""))
ONE += "kernel_warehouse"


def run(run_id: int, backbone: str, top1_pct: float, **facts: Any) -> Run:
    """A finished run of the study on ImageNet, in a folder of any name."""
    planned = {
        "recipe": KW.recipe.name,
        "recipe_hash": KW.recipe.digest(),
        "dataset": "ilsvrc",
        "train_samples_seen": 300 * 312 * 4096,
    }
    study = facts.pop("study", KW.name)
    return replace(trained(run_id, backbone, top1_pct, **{**planned, **facts}), study=study)


def waiting(run_id: int, backbone: str, state: RunState, *, study: str = KW.name) -> Run:
    spec = {"backbone": backbone, "seed": 1, "recipe": KW.recipe.model_dump(mode="json")}
    found = run(run_id, backbone, 0.0)
    return replace(found, state=state, result=None, study=study, spec=spec)


def said_of(found: Board, backbone: str) -> str:
    return verdict(line_of(found, backbone), found.measure)


def line_of(found: Board, backbone: str) -> Line:
    (line,) = [line for line in found.lines if line.row.backbone == backbone]
    return line


def test_every_row_stands_there_with_its_state() -> None:
    runs = [
        run(1, CONV, 70.5),
        waiting(2, CONV, RunState.RUNNING),
        waiting(3, ONE, RunState.QUEUED),
        waiting(4, HALF, RunState.FAILED),
    ]
    found = board(KW, runs)
    assert found.lines[0].row.backbone == CONV
    assert {line.row.backbone for line in found.lines} == set(KW.by_backbone)
    states = {line.row.backbone: state_text(line) for line in found.lines}
    assert states[CONV] == "measured, 1 to come"
    assert (states[ONE], states[HALF]) == ("queued", "failed")
    assert states["resnet18/kernel_warehouse(budget=4)"] == "not submitted"
    assert line_of(found, ONE).runs == (3,)


def test_nothing_measured_shows_what_is_published() -> None:
    found = board(KW, [])
    assert found.group is None
    assert [line.published and line.published.top1_pct for line in found.lines][:2] == [
        70.44,
        72.73,
    ]


@pytest.mark.parametrize(
    ("backbone", "top1_pct", "said"),
    [
        (CONV, 70.5, "+0.06 within noise"),
        (CONV, 75.0, "+4.56 beyond noise"),
        (ONE, 74.0, "-0.77 beyond noise, other recipe"),
    ],
)
def test_measured_is_compared_with_published(backbone: str, top1_pct: float, said: str) -> None:
    assert said_of(board(KW, [run(1, backbone, top1_pct)]), backbone) == said


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"dataset": "digits", "classes": 10, "val_images": 359}, "data set digits"),
        ({"recipe": "kw_adv300(epochs=5)", "recipe_hash": "x"}, "recipe kw_adv300(epochs=5)"),
        ({"split": "holdout"}, "scored on holdout"),
        ({"initial": "pretrained"}, "from pretrained"),
        ({"train_samples_seen": 1_000}, "1,000 samples seen, not 384,350,100"),
    ],
)
def test_what_cannot_be_compared_says_why(facts: dict[str, Any], said: str) -> None:
    found = board(KW, [run(1, CONV, 70.5, **facts)])
    assert said_of(found, CONV) == f"not comparable: {said}"
    beside = line_of(found, CONV).beside
    assert beside is not None
    assert not beside.compared


def test_a_row_without_figures_has_no_verdict() -> None:
    study = studies.get("kw-ablation-cells")
    assert said_of(board(study, [run(1, CONV, 70.5)]), CONV) == ""


def test_a_recipe_that_nobody_knows_is_said() -> None:
    study = studies.get("condconv-imagenet")
    facts = {"recipe": study.recipe.name, "recipe_hash": study.recipe.digest()}
    seen = {"train_samples_seen": 150 * 1_281_024}
    found = board(study, [run(1, "resnet50/condconv", 78.5, **facts, **seen)])
    assert said_of(found, "resnet50/condconv").endswith(", their recipe not known")


def test_runs_of_others_under_the_same_recipe_count() -> None:
    found = board(KW, [run(1, CONV, 70.5, study="mine"), run(2, ONE, 74.0, study="")])
    assert [line.runs for line in found.lines[:2]] == [(2,), (1,)]
    queued = waiting(3, HALF, RunState.QUEUED, study="mine")
    assert line_of(board(KW, [queued]), HALF).state == "queued"


def test_runs_of_others_under_another_recipe_do_not() -> None:
    other = run(1, CONV, 70.5, study="mine", recipe_hash="x")
    assert board(KW, [other]).group is None
    of_the_study = replace(other, study=KW.name)
    assert board(KW, [of_the_study]).group is not None


def test_what_was_measured_otherwise_stands_apart() -> None:
    short = {"recipe": "kw_adv300(epochs=5)", "recipe_hash": "x"}
    found = board(KW, [run(1, CONV, 50.0, **short), run(2, ONE, 51.0, **short), run(3, CONV, 70.5)])
    assert found.is_as_planned
    assert line_of(found, CONV).runs == (3,)
    assert line_of(found, ONE).state == "measured otherwise"
    assert [len(group.rows) for group in found.others] == [2]


def test_backbones_that_are_no_row_do_not_count() -> None:
    assert board(KW, [run(1, "resnet18/eca", 70.5)]).group is None


FULL = [
    run(1, CONV, 70.5),
    run(2, ONE, 75.0),
    waiting(3, HALF, RunState.QUEUED),
    timed(4, CONV, 10.0),
    timed(5, ONE, 14.0),
]


def test_json_and_csv_carry_measured_and_published() -> None:
    found = board(KW, FULL)
    rows = exports.as_json(found)
    assert json.loads(json.dumps(rows)) == rows
    first = rows[0]
    assert (first["backbone"], first["rank"], first["state"]) == (ONE, 1, "measured")
    assert (first["accuracy"]["top1_pct"], first["published"]["top1_pct"]) == (75.0, 74.77)
    assert first["published_recipe"] == "kw_adv300_drop_path"
    assert first["latency"][0]["ratio"] == 1.4
    lines = list(csv.DictReader(io.StringIO(exports.as_csv(found))))
    assert len(lines) == len(KW.rows)
    assert list(lines[0]) == list(exports.columns(found))
    assert (lines[0]["published_top1_pct"], lines[0]["p50_ms"]) == ("74.77", "14.0")
    assert float(lines[1]["top1_difference"]) == pytest.approx(0.06)
    assert [line["state"] for line in lines[2:]].count("not submitted") == 3


def test_markdown_and_latex_carry_the_same_columns() -> None:
    found = board(KW, FULL)
    shown = exports.shown_headings(found)
    markdown, latex = exports.as_markdown(found), exports.as_latex(found)
    assert "| " + " | ".join(shown) + " |" in markdown
    assert "| +0.06 within noise |" in markdown
    assert latex.count(r"\\") > len(KW.rows)
    assert r"\textbf{75.00 [74.6, 75.4]}" in latex
    assert "one recipe for all rows" in latex
    assert "theirs was trained with" in markdown


def test_a_table_with_latencies_says_how_they_were_measured() -> None:
    found = board(KW, FULL)
    assert found.group is not None
    (protocol,) = latency_notes(found.group)
    assert protocol.startswith("latency: ")
    assert protocol.endswith("; ratio to the plain network, same process")
    assert protocol in exports.as_markdown(found)
    assert "latency:" not in exports.as_markdown(board(KW, []))


def test_a_table_without_published_figures_names_no_data_set_of_theirs() -> None:
    own = KW.model_copy(update={"source": "", "data": "digits"})
    notes = exports.notes(board(own, []))
    assert "source of the figures: not known here" in notes
    assert not [note for note in notes if "imagenet1k" in note]


def test_columns_in_which_nothing_stands_are_left_away() -> None:
    assert not {"Rank", "Ratio", "Params (M)"} & set(exports.shown_headings(board(KW, [])))
    assert {"Rank", "Ratio", "Params (M)"} <= set(exports.shown_headings(board(KW, FULL)))


def test_the_terminal_shows_title_recipe_and_source(capsys: pytest.CaptureFixture[str]) -> None:
    study_ranking.draw(board(KW, FULL))
    out = capsys.readouterr().out
    assert KW.title in out
    assert "one recipe for all rows: kw_adv300 (300 epochs, 224 px)" in out
    assert "source of the figures: OSVAI/KernelWarehouse README.md, of imagenet1k" in out
    (line,) = [line for line in out.splitlines() if line.split()[:2] == ["1", ONE]]
    assert "+0.23 beyond noise, other recipe" in line or "within noise, other recipe" in line
