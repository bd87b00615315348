from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from backbones.build import build
from detection.errors import DetectionError
from jobs.classify import ClassifySpec
from jobs.classify.run import run as classify
from jobs.detect import DetectSpec, precheck
from jobs.detect import run as detect_run
from jobs.detect.run import check, run
from jobs.errors import DatasetError, DivergedError, InterruptedRunError, SpecError
from jobs.job import Parent, Result
from jobs.training import loop
from tests.jobs import few_scenes
from tests.jobs.context import FolderContext, KilledError
from tests.jobs.few_scenes import TINY, make_spec
from tests.jobs.together import run_together

COCO = {
    f"{part}_ap{kind}_pct"
    for part in ("box", "mask")
    for kind in ("", "50", "75", "_small", "_medium", "_large")
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def scenes(cache: Path, tmp_path: Path) -> Path:
    return few_scenes.write(cache, tmp_path / "scenes")


@pytest.fixture
def context(tmp_path: Path) -> FolderContext:
    return FolderContext(tmp_path / "run")


def weights(context: FolderContext) -> Mapping[str, Tensor]:
    folder = context.resume()
    assert folder is not None
    state: dict[str, Any] = torch.load(folder / "state.pt", weights_only=True)
    network: Mapping[str, Tensor] = state["network"]
    return network


def assert_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_a_run_trains_scores_and_keeps_what_was_found(scenes: Path, context: FolderContext) -> None:
    result = run(make_spec(scenes), context)
    assert {name for name in COCO if "large" not in name} <= result.scores.keys()
    assert 0 <= result.scores["mask_ap_pct"] <= 100
    assert result.facts["detector"] == "mask_rcnn"
    assert result.facts["train_images"] == 8
    assert result.facts["train_samples_seen"] == 16
    assert result.facts["image_size"] == "64x64"
    assert result.facts["params"] > result.facts["backbone_params"] > 100_000
    assert [row["category"] for row in result.rows] == [str(digit) for digit in range(10)]
    for name in ("train_loss", "loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_mask", "lr"):
        assert len(context.series(name)) == 8
        assert all(map(math.isfinite, context.series(name)))
    assert len(context.series("val_mask_ap_pct")) == 2
    kept = context.root / "kept"
    entries = json.loads((kept / "predictions.json").read_text())
    assert {entry["image_id"] for entry in entries} <= {1, 2, 3, 4}
    listed = json.loads((kept / "samples.json").read_text())
    assert [(kept / one["file"]).is_file() for one in listed] == [True, True]


def test_faster_rcnn_has_boxes_alone(scenes: Path, context: FolderContext) -> None:
    result = run(make_spec(scenes, {"detector": "faster_rcnn"}, epochs=1), context)
    assert "box_ap_pct" in result.scores
    assert not any(name.startswith("mask") for name in result.scores)
    assert "loss_mask" not in context.reports[0].metrics


@pytest.mark.parametrize("backbone", [TINY, "test_resnet/kernel_warehouse"])
def test_a_killed_run_goes_on_in_mid_epoch_with_the_same_numbers(
    scenes: Path, tmp_path: Path, backbone: str
) -> None:
    spec = make_spec(scenes, {"backbone": backbone, "checkpoint_every_s": 1e-9})
    whole, cut = FolderContext(tmp_path / "whole"), FolderContext(tmp_path / "cut")
    expected = run(spec, whole)
    cut.kill_at_save = 6  # the second step of the second epoch
    with pytest.raises(KilledError):
        run(spec, cut)
    assert cut.saves[-1] == 6
    cut.kill_at_save = None
    result = run(spec, cut)
    assert_same(weights(whole), weights(cut))
    assert cut.series("train_loss") == whole.series("train_loss")
    for name in ("mask_ap_pct", "box_ap50_pct", "train_loss"):
        assert result.scores[name] == expected.scores[name]
    assert result.rows == expected.rows


def test_a_run_that_died_after_its_last_checkpoint_still_has_all_results(
    scenes: Path, tmp_path: Path
) -> None:
    spec = make_spec(scenes, epochs=1)
    context = FolderContext(tmp_path / "run", kill_at_save=1)
    with pytest.raises(KilledError):
        run(spec, context)
    context.kill_at_save = None
    result = run(spec, context)
    assert len(result.rows) == 10
    assert (context.root / "kept" / "predictions.json").is_file()


def test_a_run_asked_to_stop_saves_and_stops(scenes: Path, tmp_path: Path) -> None:
    context = FolderContext(tmp_path / "run", stop_at_step=3)
    with pytest.raises(InterruptedRunError):
        run(make_spec(scenes), context)
    assert context.saves == [3]


def test_a_run_asked_to_stop_while_it_is_scored_saves_and_scores_again(
    scenes: Path, tmp_path: Path
) -> None:
    spec = make_spec(scenes)
    expected = run(spec, FolderContext(tmp_path / "whole"))
    context = FolderContext(tmp_path / "run", stop_at_step=9)  # after the last of 8 steps
    with pytest.raises(InterruptedRunError):
        run(spec, context)
    assert context.saves == [4, 8]
    context.stop_at_step = None
    result = run(spec, context)
    assert result.rows == expected.rows
    assert result.scores["train_loss"] == expected.scores["train_loss"]


def test_pictures_that_cannot_be_drawn_do_not_lose_the_run(
    scenes: Path, context: FolderContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DetectionError("an image went away")

    monkeypatch.setattr(detect_run, "write_samples", fail)
    assert run(make_spec(scenes, epochs=1), context).rows
    assert (context.root / "kept" / "predictions.json").is_file()


def test_a_loss_that_is_not_finite_ends_the_run_and_names_the_scenes(
    scenes: Path, context: FolderContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(optimiser: torch.optim.Optimizer, _: float) -> None:
        for group in optimiser.param_groups:
            group["lr"] = 1e30

    monkeypatch.setattr(loop, "set_learning_rate", explode)
    with pytest.raises(DivergedError, match=r"the training loss is nan in epoch 1, .*\.bmp"):
        run(make_spec(scenes), context)


def test_a_broken_object_ends_the_check_unless_it_may_be_skipped(
    scenes: Path, context: FolderContext
) -> None:
    file = scenes / "annotations" / "instances_train2017.json"
    document = json.loads(file.read_text())
    document["annotations"][0]["category_id"] = 99
    file.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match="category that is not listed"):
        check(make_spec(scenes), context)
    spec = make_spec(scenes, {"skip_bad": True}, epochs=1)
    check(spec, context)
    assert run(spec, context).facts["skipped_objects"] == 1


def classified(tmp_path: Path, few_digits: Path) -> tuple[Result, FolderContext]:
    spec = ClassifySpec.model_validate(
        {
            "backbone": TINY,
            "data": str(few_digits),
            "recipe": {
                "base": "digits_quick",
                "epochs": 1,
                "warmup_epochs": 0,
                "batch_size": 16,
                "micro_batch": 16,
                "image_size": 32,
            },
        }
    )
    context = FolderContext(tmp_path / "parent")
    return classify(spec, context), context


def test_a_detector_starts_from_the_network_of_a_run_that_classified(
    scenes: Path, few_digits: Path, tmp_path: Path
) -> None:
    result, parent = classified(tmp_path, few_digits)
    folder = parent.resume()
    assert folder is not None
    context = FolderContext(tmp_path / "child", kill_at_save=1)
    context.parents[7] = Parent("classify", TINY, {}, result.facts, folder)
    # a rate of nearly nothing, so that the first checkpoint holds what the run began with
    spec = make_spec(scenes, {"initial": "run:7"}, epochs=1, lr=1e-30, norm_eval=True)
    with pytest.raises(KilledError):
        run(spec, context)
    theirs = weights(parent)
    ours = weights(context)
    prefix = "backbone.pyramid.network."
    held = {name: tensor for name, tensor in theirs.items() if not name.startswith("fc.")}
    assert held
    for name, tensor in held.items():
        torch.testing.assert_close(ours[f"{prefix}{name}"], tensor, rtol=0, atol=1e-6)
    context.kill_at_save = None
    facts = run(spec, context).facts
    assert facts["initial"].startswith("classify#")
    assert str(result.facts["recipe_hash"]) in facts["initial"]


def test_a_detector_goes_on_from_a_detector_of_the_same_categories(
    scenes: Path, tmp_path: Path
) -> None:
    parent = FolderContext(tmp_path / "parent")
    facts = run(make_spec(scenes, epochs=1), parent).facts
    folder = parent.resume()
    assert folder is not None
    context = FolderContext(tmp_path / "child")
    context.parents[3] = Parent("detect", TINY, {}, facts, folder)
    spec = make_spec(scenes, {"initial": "run:3"}, epochs=1, lr=1e-30)
    check(spec, context)
    wider = make_spec(scenes, {"initial": "run:3"}, epochs=1, box_channels=48)
    with pytest.raises(SpecError, match=r"of another detector.*fc_cls.weight is .*; and 1 more"):
        check(wider, context)
    result = run(spec, context)
    assert result.facts["initial"].startswith("detect#")
    name = "roi_head.mask_head.conv_logits.weight"
    torch.testing.assert_close(weights(context)[name], weights(parent)[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frozen_stages": 1}, "would keep random weights for ever"),
        ({"norm_eval": True}, "keeps the statistics of untrained norms"),
    ],
)
def test_training_from_scratch_with_frozen_parts_is_refused(
    scenes: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        precheck(make_spec(scenes, **changes))


def test_the_library_has_no_weights_of_a_method_that_could_be_kept(scenes: Path) -> None:
    start: dict[str, Any] = {"backbone": "resnet50/kernel_warehouse", "initial": "pretrained"}
    with pytest.raises(SpecError, match="no weights of kernel_warehouse; start from run:ID"):
        precheck(make_spec(scenes, start, frozen_stages=1))
    precheck(make_spec(scenes, {**start, "backbone": "resnet50/conv"}, frozen_stages=1))


def test_methods_follow_their_schedules_from_random_weights_alone(
    scenes: Path, context: FolderContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []

    def note(network: nn.Module, *, step: int, steps_per_epoch: int) -> None:
        steps.append(step)

    monkeypatch.setattr(loop, "anneal", note)
    run(make_spec(scenes, epochs=1), context)
    assert steps == [0, 1, 2, 3]
    file = tmp_path / "trained.pth"
    torch.save(build(TINY, classes=10, image_size=224).state_dict(), file)
    run(make_spec(scenes, {"initial": str(file)}, epochs=1), FolderContext(tmp_path / "other"))
    assert len(steps) == 4


def test_images_too_small_to_be_learnt_from_are_a_fault_of_the_data(
    scenes: Path, context: FolderContext
) -> None:
    for split in ("train", "val"):
        file = scenes / "annotations" / f"instances_{split}2017.json"
        document = json.loads(file.read_text())
        document["annotations"] = [
            {
                **document["annotations"][0],
                "image_id": image["id"],
                "id": image["id"],
                "bbox": [2, 2, 8, 8],
                "area": 64,
                "segmentation": [[2, 2, 10, 2, 10, 10, 2, 10]],
            }
            for image in document["images"]
        ]
        for image in document["images"]:
            image.update(width=24, height=24)
            Image.new("RGB", (24, 24)).save(scenes / f"{split}2017" / image["file_name"])
        file.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match="sides of 32 pixels at least"):
        run(make_spec(scenes), context)


def test_digits_to_classify_are_refused_by_name() -> None:
    spec = DetectSpec.model_validate(
        {"backbone": TINY, "data": "digits", "recipe": "digit_scenes_quick"}
    )
    with pytest.raises(DatasetError, match="digit_scenes"):
        precheck(spec)


def test_two_workers_equal_one_that_accumulates(
    scenes: Path, tmp_path: Path, repository: Path
) -> None:
    recipe: dict[str, Any] = {"batch_size": 4, "micro_batch": 2}
    specs = [
        make_spec(scenes, {"backbone": "test_efficientnet_gn/conv"}, **recipe),
        make_spec(scenes, **recipe),
    ]
    alone = [
        run(spec, FolderContext(tmp_path / f"alone{index}")) for index, spec in enumerate(specs)
    ]
    run_together(tmp_path, specs, kind="detect", repository=repository)
    for index in range(2):
        ours = weights(FolderContext(tmp_path / f"alone{index}"))
        theirs = weights(FolderContext(tmp_path / f"spec{index}" / "rank0"))
        for name, tensor in ours.items():
            # each worker keeps statistics of the micro-batches that it saw; worker 0's count
            if "running" not in name and "num_batches" not in name:
                torch.testing.assert_close(tensor, theirs[name], rtol=1e-3, atol=1e-4, msg=name)
    scores = torch.load(tmp_path / "spec0" / "rank0" / "scores.pt", weights_only=True)
    for name in ("box_ap_pct", "mask_ap_pct", "train_loss"):
        assert scores[name] == pytest.approx(alone[0].scores[name], rel=1e-3, abs=0.5)
