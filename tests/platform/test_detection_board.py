"""The leaderboard of detectors: measures, ranks and columns of a task of its own."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest

from convoy import listing
from convoy.errors import ConvoyError
from convoy.leaderboard import exports
from convoy.leaderboard.measures import AP_BAND, DETECT, TASKS
from convoy.leaderboard.rows import Group, Row, Wanted, leaderboard
from convoy.leaderboard.study import board, verdict
from convoy.leaderboard.study_exports import as_csv, as_latex, cells, notes, shown_headings
from convoy.records import Run
from convoy.terminal import ranking, study_ranking
from jobs import studies
from tests.platform.test_leaderboard import finished, names, trained

R50, MBV2 = "resnet50/conv", "mobilenetv2_100/conv"
ONE, FOUR = "resnet50/kernel_warehouse", "resnet50/kernel_warehouse(budget=4)"
KW = studies.get("kw-mask-rcnn-1x")
PROTOCOL = "cpu fp32 nchw eager b1 800x1280px 1 thread mask_rcnn"


def detected(
    run_id: int, backbone: str, mask_ap: float | None, *, box_ap: float = 40.0, **facts: Any
) -> Run:
    """A finished run of the KernelWarehouse study on COCO, in a folder of any name."""
    seed = facts.pop("seed", 0)
    plain = {
        "task": "detect",
        "detector": "mask_rcnn",
        "dataset": "coco",
        "dataset_fingerprint": "c1",
        "split": "val",
        "recipe": KW.recipe.name,
        "recipe_hash": KW.recipe.digest(),
        "initial": "classify#i1/r1/scratch/384350100",
        "train_samples_seen": 12 * 117_266,
        "image_size": "800x1333",
        "ema": False,
        "precision": "fp32",
        "params": 44_400_000,
        "madds": 261_000_000_000,
        "madds_assembly": 0,
        "backbone_params": 23_500_000,
        "classes": 80,
        "val_images": 5000,
    }
    scores = {"box_ap_pct": box_ap, "box_ap50_pct": box_ap + 20, "train_loss": 0.9}
    if mask_ap is not None:
        scores |= {"mask_ap_pct": mask_ap, "best_mask_ap_pct": mask_ap + 0.1}
    run = finished(
        run_id, "detect", backbone, seed=seed, scores=scores, facts={**plain, **facts}, rows=[]
    )
    return replace(run, study=KW.name, spec={**run.spec, "detector": "mask_rcnn"})


def timed(run_id: int, backbone: str, p50_ms: float, **key: Any) -> Run:
    """A measurement of a backbone, in Mask R-CNN unless said otherwise."""
    params = key.pop("params", 44_400_000)
    where = {"image_size": "800x1280", "classes": 80, "detector": "mask_rcnn", **key}
    row = {
        "device": "cpu A",
        "protocol": " ".join([PROTOCOL, *map(str, where.values())]),
        "protocol_key": {name: value for name, value in where.items() if value is not None},
        "p50_ms": p50_ms,
    }
    facts = {"task": "benchmark", "params": params, **where}
    return finished(run_id, "benchmark", backbone, scores={}, facts=facts, rows=[row])


def ranked(*runs: Run, **how: Any) -> list[Group]:
    return leaderboard(runs, wanted=Wanted(task="detect"), **how)


def only_row(*runs: Run) -> Row:
    ((row,),) = (group.rows for group in ranked(*runs))
    return row


def test_masks_rank_where_there_are_masks_and_boxes_else() -> None:
    (masks,) = ranked(detected(1, R50, 34.0, box_ap=45.0), detected(2, ONE, 38.0, box_ap=40.0))
    assert masks.measure is not None
    assert masks.measure.name == "mask_ap"
    assert names(masks) == [(1, ONE), (2, R50)]
    runs = [
        detected(1, R50, None, detector="faster_rcnn", box_ap=45.0),
        detected(2, ONE, None, detector="faster_rcnn", box_ap=40.0),
    ]
    (boxes,) = ranked(*runs)
    assert names(boxes) == [(1, R50), (2, ONE)]
    assert [one.name for one in boxes.measures][:2] == ["box_ap", "box_ap50"]


def test_detectors_are_never_ranked_together() -> None:
    groups = ranked(
        detected(1, R50, 34.0),
        detected(2, ONE, 38.0),
        detected(3, FOUR, None, detector="faster_rcnn"),
    )
    assert [len(group.rows) for group in groups] == [2, 1]
    assert dict(groups[1].differs) == {"detector": ("faster_rcnn", "mask_rcnn")}


def test_a_key_that_classifies_says_nothing_of_detectors() -> None:
    groups = leaderboard([trained(1, R50, 70.0), detected(2, R50, 34.0)])
    facts = {group.task.name: group.key.facts() for group in groups}
    assert "detector" not in facts["classify"]
    assert facts["detect"]["detector"] == "mask_rcnn"


@pytest.mark.parametrize(
    ("ours", "ranks"),
    [((38.0, 37.7), [1, 1]), ((38.0, 37.69), [1, 2]), ((38.0, 37.8, 37.6), [1, 1, 2])],
)
def test_single_seeds_share_a_rank_within_what_coco_scatters(
    ours: tuple[float, ...], ranks: list[int]
) -> None:
    runs = [
        detected(number, backbone, ap)
        for number, (backbone, ap) in enumerate(zip((ONE, FOUR, R50), ours, strict=False), 1)
    ]
    (group,) = ranked(*runs)
    assert [row.rank for row in group.rows] == ranks


def test_one_seed_has_no_interval_and_several_have_theirs() -> None:
    one = only_row(detected(1, R50, 34.0)).estimate(DETECT.measures[0])
    assert one is not None
    assert (one.low, one.high, one.method, one.band) == (None, None, "", AP_BAND)
    row = only_row(*(detected(seed + 1, R50, 34.0 + seed, seed=seed) for seed in range(3)))
    assert row.accuracy is not None
    assert {e.method for e in row.accuracy.estimates.values()} == {"t"}
    assert row.accuracy.best_pct == pytest.approx(35.1)


def test_any_measure_of_the_task_may_rank() -> None:
    runs = [detected(1, R50, 34.0, box_ap=45.0), detected(2, ONE, 38.0, box_ap=40.0)]
    (group,) = ranked(*runs, by="box_ap50")
    assert names(group) == [(1, R50), (2, ONE)]


@pytest.mark.parametrize("task", TASKS)
def test_a_measure_of_another_task_is_refused_with_those_of_this_one(task: str) -> None:
    (wrong,) = ({"classify": "mask_ap", "detect": "top1"}[one] for one in [task])
    own = ", ".join(one.name for one in TASKS[task].measures)
    with pytest.raises(ConvoyError, match=f"unknown measure '{wrong}' of {task}; known: {own}"):
        leaderboard([], wanted=Wanted(task=task), by=wrong)


def test_latency_is_ranked_by_itself_alone() -> None:
    with pytest.raises(ConvoyError, match="of benchmark; it is ranked by latency alone"):
        leaderboard([], wanted=Wanted(task="benchmark"), by="top1")


def test_a_latency_stands_beside_the_detector_that_it_is_of() -> None:
    row = only_row(
        detected(1, R50, 34.0),
        timed(2, R50, 300.0),
        timed(3, R50, 30.0, detector=None),
        timed(4, R50, 200.0, detector="faster_rcnn"),
        timed(5, R50, 100.0, image_size="640x1024"),
        timed(6, R50, 250.0, classes=10),
        timed(7, ONE, 400.0),
        timed(8, R50, 150.0, params=30_000_000),
    )
    assert [(one.p50_ms, one.run) for one in row.latency] == [(300.0, 2)]
    runs = [trained(1, R50, 70.0), timed(2, R50, 30.0, detector=None, image_size=224, classes=1000)]
    (group,) = leaderboard(runs)
    assert [one.p50_ms for one in group.rows[0].latency] == [30.0]


def test_the_time_of_a_backbone_alone_stands_beside_its_own_counts() -> None:
    run = timed(1, R50, 30.0)
    assert run.result is not None
    (row,) = run.result["rows"]
    rows = [
        row,
        {**row, "p50_ms": 9.0, "protocol": f"{row['protocol']} backbone", "part": "backbone"},
    ]
    facts = {**run.result["facts"], "backbone_params": 23_500_000}
    run = replace(run, result={**run.result, "rows": rows, "facts": facts})
    groups = leaderboard([run], wanted=Wanted(task="benchmark"))
    found = {group.rows[0].latency[0].p50_ms: group.rows[0].params for group in groups}
    assert found == {30.0: 44_400_000, 9.0: 23_500_000}


def test_detectors_are_sorted_by_the_time_that_most_of_them_have() -> None:
    runs = [detected(1, R50, 34.0), detected(2, ONE, 38.0), timed(3, R50, 300.0)]
    runs += [timed(4, ONE, 200.0), timed(5, R50, 90.0, part="backbone")]
    (group,) = ranked(*runs, sort="latency")
    assert [row.backbone for row in group.rows] == [ONE, R50]


def test_published_rows_are_those_of_the_same_detector() -> None:
    row = only_row(detected(1, ONE, 38.6, box_ap=41.0))
    assert {one.row.task for one in row.published} == {"mask_rcnn"}
    first = row.published[0]
    assert first.comparable
    assert first.compared["mask_ap"].difference == pytest.approx(0.2)
    assert first.compared["mask_ap"].within_noise is True
    assert first.compared["box_ap"].difference == pytest.approx(-0.8)
    assert first.compared["box_ap"].within_noise is False
    classifying = leaderboard([trained(1, ONE, 80.0)])[0].rows[0]
    assert {one.row.task for one in classifying.published} == {"classify"}


def test_the_published_row_of_our_recipe_comes_first() -> None:
    facts = {"detector": "faster_rcnn", "recipe": "coco_1x(batch_size=8)"}
    row = only_row(detected(1, R50, None, box_ap=36.5, **facts))
    assert row.published[0].row.source.startswith("arXiv 1910.03151, Table 5")
    assert len(row.published) > 2


def test_other_scenes_are_not_compared_with_coco() -> None:
    row = only_row(detected(1, ONE, 60.0, dataset="digit_scenes", classes=10, val_images=100))
    assert not any(one.comparable or one.compared for one in row.published)
    assert "data set: theirs coco2017, ours digit_scenes" in row.published[0].differences


SEEDS = [detected(seed + 1, ONE, 38.0 + 0.2 * seed, seed=seed) for seed in range(3)]
BOARD = [*SEEDS, detected(4, R50, 36.0), timed(5, ONE, 300.0), timed(6, R50, 250.0)]


def test_json_holds_every_measure_with_its_spread() -> None:
    rows = exports.as_json(ranked(*BOARD))
    assert json.loads(json.dumps(rows)) == rows
    first = rows[0]
    assert (first["task"], first["detector"], first["backbone"]) == ("detect", "mask_rcnn", ONE)
    accuracy = first["accuracy"]
    assert (accuracy["measure"], accuracy["mask_ap_pct"], accuracy["n"]) == (
        "mask_ap",
        pytest.approx(38.2),
        3,
    )
    assert accuracy["ci95_pct"][0] < 38.2 < accuracy["ci95_pct"][1]
    assert accuracy["estimates"]["box_ap"]["mean_pct"] == 40.0
    assert accuracy["mask_ap_small_pct"] is None
    assert accuracy["best_mask_ap_pct"] == pytest.approx(38.3)
    assert first["published"][0]["mask_ap_difference"] == pytest.approx(-0.2)
    assert rows[1]["accuracy"]["ci95_pct"] is None


def test_csv_has_the_columns_of_the_task() -> None:
    lines = list(csv.DictReader(io.StringIO(exports.as_csv(ranked(*BOARD)))))
    assert [line["key_detector"] for line in lines] == ["mask_rcnn"] * 2
    assert lines[0]["measure"] == "mask_ap"
    assert float(lines[0]["box_ap_std"]) == 0.0
    assert float(lines[0]["std"]) == pytest.approx(0.2)
    assert lines[1]["ci95_low_pct"] == ""
    assert "top1_pct" not in lines[0]
    header = exports.as_csv([], task=DETECT).strip().split(",")
    assert header == list(lines[0])


@pytest.mark.parametrize("write", [exports.as_markdown, exports.as_latex])
def test_papers_get_precision_by_overlap_and_the_note_on_single_seeds(write: Any) -> None:
    text = write(ranked(*BOARD)).replace("\\", "")
    for heading in ("Mask AP (%)", "Box AP (%)", "Mask AP50 (%)", "Box AP75 (%)"):
        assert heading in text
    assert "AP small" not in text
    assert "38.2 ± 0.5" in text or r"38.2 $pm$ 0.5" in text
    assert "share a rank within 0.3, since equal runs on COCO differ by 0.2 to 0.3" in text
    assert "binomial" not in text


def test_the_terminal_shows_masks_and_boxes(capsys: pytest.CaptureFixture[str]) -> None:
    ranking.draw(ranked(*BOARD))
    out = capsys.readouterr().out
    assert "detect · mask_rcnn · coco (5,000 images of val) · recipe kw_detection_1x" in out
    (line,) = [line for line in out.splitlines() if line.split()[:2] == ["2", R50]]
    assert line.split()[2:4] == ["36.0", "40.0"]
    assert "mask AP % (95 %)" in out
    assert f"published, {R50}: mask AP 36.4 %" in out
    assert "ours differs by -0.4, beyond noise" in out


def test_a_finished_run_is_listed_with_its_precision() -> None:
    assert listing.score_text(detected(1, R50, 34.04)) == "mask AP 34.0 %, box AP 40.0 %"
    live = replace(detected(1, R50, 34.0), result=None)
    last = {"val_box_ap_pct": 12.34, "val_mask_ap_pct": 11.0, "train_loss": 0.5}
    assert listing.score_text(replace(live, last=last)) == "val 11.0 %, loss 0.500"


def test_a_study_of_a_detector_compares_its_rows_with_their_source() -> None:
    found = board(KW, [*BOARD, trained(9, R50, 80.0, study=KW.name)])
    assert found.is_as_planned
    assert found.measure.name == "mask_ap"
    said = {line.row.backbone: verdict(line, found.measure) for line in found.lines}
    assert said[ONE] == "-0.2 within noise, other recipe"
    assert said[R50] == "-0.4 beyond noise"
    assert {line.state for line in found.lines} == {"measured", "not submitted"}
    first = cells(found.lines[0], found)
    assert first["Published (%)"] == "38.4"
    assert first["Box AP (%)"] == "40.0 ± 0.0"
    assert first["Published box AP (%)"] == "41.8"
    assert "Mask AP (%)" in shown_headings(found)
    assert any("12 epochs, 800x1333 px" in note for note in notes(found))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"initial": "scratch"}, "from scratch"),
        ({"classes": 10, "val_images": 100, "dataset": "digit_scenes"}, "data set digit_scenes"),
        ({"train_samples_seen": 1000}, "1,000 samples seen, not 1,407,192"),
    ],
)
def test_a_detector_that_was_trained_otherwise_is_not_compared(
    facts: dict[str, Any], said: str
) -> None:
    found = board(KW, [detected(1, R50, 36.0, **facts)])
    (line,) = [line for line in found.lines if line.row.backbone == R50]
    assert verdict(line, found.measure) == f"not comparable: {said}"


def test_a_study_counts_no_run_of_another_detector_or_kind() -> None:
    parent = replace(trained(1, R50, 70.0), study=KW.name)
    other = replace(detected(2, R50, None), spec={"detector": "faster_rcnn", "seed": 0})
    assert board(KW, [parent, other]).group is None


def test_a_study_of_boxes_alone_has_no_column_of_masks() -> None:
    found = board(studies.get("od-faster-rcnn-1x"), [])
    assert found.measure.name == "box_ap"
    assert not [name for name in shown_headings(found) if "ask" in name]
    assert cells(found.lines[0], found)["Published (%)"] == "37.4"


def test_a_study_of_a_detector_has_every_form(capsys: pytest.CaptureFixture[str]) -> None:
    found = board(KW, BOARD)
    lines = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert (lines[0]["published_mask_ap_pct"], lines[0]["published_box_ap_pct"]) == ("38.4", "41.8")
    assert float(lines[0]["mask_ap_difference"]) == pytest.approx(-0.2)
    assert r"\textbf{38.2 $\pm$ 0.5}" in as_latex(found)
    study_ranking.draw(found)
    assert KW.title in capsys.readouterr().out
