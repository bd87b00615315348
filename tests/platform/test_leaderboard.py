from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from convoy.errors import ConvoyError
from convoy.leaderboard import exports
from convoy.leaderboard.rows import Group, Wanted, leaderboard
from convoy.records import Run
from convoy.states import RunState
from jobs.job import Resources

WHEN = datetime(2026, 11, 22, tzinfo=UTC)
CONV, ECA, SE = "resnet18/conv", "resnet18/eca", "resnet18/se(reduction=8)"
PROTOCOL = "cpu fp32 nchw eager b1 224px 1 thread"


def finished(run_id: int, kind: str, backbone: str, **parts: Any) -> Run:
    return Run(
        id=run_id,
        kind=kind,
        spec={"backbone": backbone, "seed": parts.pop("seed", 0)},
        spec_hash="h",
        resources=Resources(),
        owner="ada",
        name="",
        backbone=backbone,
        data="digits",
        recipe="quick",
        study="",
        priority=0,
        key=None,
        depends_on=(),
        retry_of=None,
        code={},
        state=RunState.SUCCEEDED,
        attempt=1,
        created_at=WHEN,
        started_at=WHEN,
        ended_at=WHEN,
        not_before=None,
        waiting=None,
        waiting_detail="",
        cancel_reason="",
        phase=None,
        status="",
        step=1,
        total_steps=1,
        epoch=1,
        step_at=WHEN,
        eta_s=None,
        last={},
        best={},
        result=parts,
        failure=None,
        failure_text="",
    )


def trained(run_id: int, backbone: str, top1_pct: float, *, seed: int = 0, **facts: Any) -> Run:
    plain = {
        "task": "classify",
        "dataset": "imagenet1k",
        "dataset_fingerprint": "f1",
        "split": "val",
        "recipe": "quick",
        "recipe_hash": "r1",
        "initial": "scratch",
        "train_samples_seen": 1000,
        "image_size": 224,
        "crop_pct": 0.875,
        "ema": False,
        "precision": "fp32",
        "params": 11_000_000,
        "madds": 1_800_000_000,
        "madds_assembly": 0,
        "classes": 1000,
        "val_images": 50_000,
    }
    scores = {"top1_pct": top1_pct, "top5_pct": min(100.0, top1_pct + 20)}
    return finished(
        run_id, "classify", backbone, seed=seed, scores=scores, facts={**plain, **facts}, rows=[]
    )


def timed(run_id: int, backbone: str, p50_ms: float, **changes: Any) -> Run:
    row: Mapping[str, Any] = {
        "device": "cpu A",
        "protocol": PROTOCOL,
        "p50_ms": p50_ms,
        "ratio": p50_ms / 10,
        "ratio_low": p50_ms / 10 - 0.1,
        "ratio_high": p50_ms / 10 + 0.1,
        "settled": True,
        "notes": [],
        **changes.pop("row", {}),
    }
    facts = {"task": "benchmark", "image_size": 224, "classes": 1000, "params": 1, **changes}
    return finished(run_id, "benchmark", backbone, scores={}, facts=facts, rows=[row])


def names(group: Group) -> list[tuple[int | None, str]]:
    return [(row.rank, row.backbone) for row in group.rows]


def test_rows_of_one_key_are_ranked_and_ties_share_a_rank() -> None:
    runs = [trained(1, CONV, 70.0), trained(2, ECA, 70.2), trained(3, SE, 60.0)]
    (group,) = leaderboard(runs)
    assert names(group) == [(1, ECA), (1, CONV), (3, SE)]


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("dataset_fingerprint", "f2"),
        ("split", "holdout"),
        ("recipe_hash", "r2"),
        ("initial", "pretrained"),
        ("train_samples_seen", 2000),
        ("image_size", 256),
        ("crop_pct", 1.0),
        ("ema", True),
        ("precision", "bf16"),
        ("detector", "mask_rcnn"),
    ],
)
def test_what_was_measured_otherwise_stands_apart_and_says_how(fact: str, value: Any) -> None:
    runs = [trained(1, CONV, 70.0), trained(2, SE, 70.0), trained(3, ECA, 99.0, **{fact: value})]
    first, second = leaderboard(runs)
    assert [row.backbone for row in first.rows] == [CONV, SE]
    assert names(second) == [(1, ECA)]
    assert list(second.differs) == [fact]
    assert second.differs[fact][0] == value
    assert not first.differs


@pytest.mark.parametrize("fact", ["recipe", "dataset", "device", "torch"])
def test_names_and_machines_do_not_part_rows(fact: str) -> None:
    other: dict[str, Any] = {fact: "another"}
    runs = [trained(1, CONV, 70.0), trained(2, ECA, 71.0, **other)]
    assert len(leaderboard(runs)) == 1


def test_seeds_are_one_row_with_mean_spread_and_runs() -> None:
    runs = [trained(i + 1, CONV, score, seed=i) for i, score in enumerate((70.0, 71.0, 72.0))]
    ((row,),) = (group.rows for group in leaderboard(runs))
    assert row.accuracy is not None
    top1 = row.accuracy.estimates["top1"]
    assert (top1.mean, top1.n, top1.std, top1.method) == (71.0, 3, 1.0, "t")
    assert row.accuracy.runs == {0: 1, 1: 2, 2: 3}


def test_of_two_runs_of_one_seed_the_later_counts() -> None:
    ((row,),) = (
        group.rows for group in leaderboard([trained(9, CONV, 72.0), trained(4, CONV, 60)])
    )
    assert row.accuracy is not None
    assert row.accuracy.estimates["top1"].mean == 72.0
    assert row.accuracy.runs == {0: 9}


def test_latency_joins_by_backbone_resolution_and_classes() -> None:
    runs = [
        trained(1, CONV, 70.0),
        timed(2, CONV, 9.0),
        timed(3, CONV, 10.0),
        timed(4, CONV, 5.0, image_size=32),
        timed(5, CONV, 5.0, classes=10),
        timed(6, ECA, 5.0),
        timed(7, CONV, 3.0, row={"device": "gpu B", "protocol": "cuda"}),
    ]
    ((row,),) = (group.rows for group in leaderboard(runs))
    assert [(one.device, one.p50_ms, one.run) for one in row.latency] == [
        ("cpu A", 10.0, 3),
        ("gpu B", 3.0, 7),
    ]


def test_latency_can_be_ranked_by_itself_within_a_protocol() -> None:
    runs = [timed(1, CONV, 10.0), timed(2, ECA, 12.0), timed(3, SE, 1.0, row={"device": "gpu B"})]
    first, second = leaderboard(runs, wanted=Wanted(task="benchmark"))
    assert names(first) == [(1, CONV), (2, ECA)]
    assert names(second) == [(1, SE)]
    assert second.differs["device"] == ("gpu B", "cpu A")


def test_rows_can_be_narrowed_and_sorted() -> None:
    runs = [
        trained(1, CONV, 70.0, params=20),
        trained(2, ECA, 60.0, params=10),
        trained(3, SE, 70.0, recipe="long", recipe_hash="abc"),
    ]
    (group,) = leaderboard(runs, wanted=Wanted(recipe="quick"), sort="params")
    assert names(group) == [(2, ECA), (1, CONV)]
    assert len(leaderboard(runs, wanted=Wanted(recipe="ab"))) == 1
    assert leaderboard(runs, wanted=Wanted(dataset="cifar10")) == []
    assert leaderboard(runs, wanted=Wanted(task="detect")) == []


def test_the_measure_that_ranks_can_be_chosen() -> None:
    runs = [trained(1, CONV, 70.0), trained(2, ECA, 60.0)]
    flipped = replace(
        runs[1], result={**(runs[1].result or {}), "scores": {"top1_pct": 60.0, "top5_pct": 99.0}}
    )
    (group,) = leaderboard([runs[0], flipped], by="top5")
    assert names(group) == [(1, ECA), (2, CONV)]


@pytest.mark.parametrize("wrong", [{"by": "acc"}, {"sort": "speed"}])
def test_an_unknown_order_names_the_known_ones(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConvoyError, match="known:"):
        leaderboard([], **wrong)


def test_runs_without_a_result_count_for_nothing() -> None:
    assert leaderboard([replace(trained(1, CONV, 70.0), result=None)]) == []


def test_published_values_stand_beside_with_what_differs() -> None:
    ((row,),) = (group.rows for group in leaderboard([trained(1, ECA, 70.0)]))
    beside = next(one for one in row.published if one.row.top1_pct is not None)
    assert beside.comparable
    top1 = beside.compared["top1"]
    assert top1.difference == pytest.approx(70.0 - (beside.row.top1_pct or 0))
    assert top1.within_noise is False


def test_published_values_of_other_data_are_not_compared() -> None:
    other = trained(1, ECA, 70.0, dataset="digits", classes=10, val_images=359)
    ((row,),) = (group.rows for group in leaderboard([other]))
    assert [(one.comparable, dict(one.compared)) for one in row.published] == [
        (False, {}) for _ in row.published
    ]
    assert "data set: theirs imagenet1k, ours digits" in row.published[0].differences


def test_imagenet_is_known_by_its_counts_whatever_its_folder_is_called() -> None:
    ((row,),) = (group.rows for group in leaderboard([trained(1, ECA, 70.0, dataset="ilsvrc")]))
    assert next(one for one in row.published if one.row.top1_pct is not None).comparable


def test_a_backbone_that_is_not_installed_any_more_keeps_its_row() -> None:
    runs = [trained(1, "resnet18/gone(a=1)", 70.0), trained(2, "what(", 60.0)]
    found = {row["backbone"]: row for row in exports.as_json(leaderboard(runs))}
    assert found["resnet18/gone(a=1)"]["settings"] == {"a": 1}
    assert found["what("]["network"] == "what("


def board() -> list[Group]:
    runs = [
        trained(1, CONV, 70.0, seed=0),
        trained(2, CONV, 70.4, seed=1),
        trained(3, SE, 75.0),
        trained(4, "resnet18/se+eca", 99.0, recipe_hash="r2"),
        timed(5, CONV, 10.0),
        timed(6, SE, 12.5),
    ]
    return leaderboard(runs)


def test_json_has_what_other_programs_rely_on() -> None:
    rows = exports.as_json(board())
    assert json.loads(json.dumps(rows)) == rows
    found = {row["backbone"]: row for row in rows}
    row = found[SE]
    assert (row["network"], row["method"], row["settings"]) == ("resnet18", "se", {"reduction": 8})
    assert (row["task"], row["dataset"], row["recipe"]) == ("classify", "imagenet1k", "quick")
    assert (row["params"], row["madds"], row["rank"]) == (11_000_000, 1_800_000_000, 1)
    assert row["accuracy"]["top1_pct"] == 75.0
    assert (row["accuracy"]["n"], row["accuracy"]["runs"]) == (1, [3])
    (latency,) = row["latency"]
    assert (latency["device"], latency["protocol"], latency["run"]) == ("cpu A", PROTOCOL, 6)
    assert (latency["p50_ms"], latency["ratio"]) == (12.5, 1.25)
    both = found["resnet18/se+eca"]
    assert (both["method"], both["settings"]) == ("se+eca", {"se": {}, "eca": {}})
    two = found[CONV]["accuracy"]
    assert two["n"] == 2
    assert two["ci95_pct"][0] < two["top1_pct"] < two["ci95_pct"][1]


def test_csv_has_a_line_a_row() -> None:
    lines = list(csv.DictReader(io.StringIO(exports.as_csv(board()))))
    assert [line["backbone"] for line in lines] == [SE, CONV, "resnet18/se+eca"]
    assert lines[1]["accuracy_runs"] == "1 2"
    assert lines[0]["p50_ms"] == "12.5"
    assert lines[2]["key_recipe_hash"] == "r2"


def test_an_empty_leaderboard_can_be_exported() -> None:
    assert exports.as_json([]) == []
    assert exports.as_csv([]) == exports.as_csv(board()).partition("\n")[0] + "\n"
    assert exports.as_markdown([]) == exports.as_latex([]) == ""


def test_markdown_has_a_table_a_group() -> None:
    text = exports.as_markdown(board())
    assert text.count("| Rank | Backbone |") == 2
    assert "| 1 | resnet18/se(reduction=8) | 75.00 [74.6, 75.4] | 1 |" in text


def test_latex_is_ready_for_a_paper() -> None:
    text = exports.as_latex(board())
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    assert r"\textbf{75.00 [74.6, 75.4]}" in text
    assert r"\textbf{70.20" not in text
    assert r"$\pm$" in text
    assert "recipe quick" in text
    rows = [
        line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line
    ]
    assert {line.count("&") for line in rows} == {7}
