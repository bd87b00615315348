"""Detectors in the benchmark: from end to end and by their backbone, under one load for all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detection.detector import make_detector
from jobs.benchmark import BenchmarkSpec
from jobs.benchmark import run as benchmark
from jobs.benchmark.detector import BACKBONE, SCORE, Detector
from jobs.benchmark.subject import WHOLE
from jobs.errors import SpecError
from jobs.job import Result, kinds, load_cost, read_spec
from tests.jobs.context import FolderContext

SMALL = {
    "feature_channels": 16,
    "hidden_channels": 16,
    "mask_channels": 16,
    "mask_convolutions": 1,
    "proposals_before": 60,
    "proposals": 40,
    "detections": 5,
}


def spec_of(**fields: Any) -> BenchmarkSpec:
    values = {
        "backbone": "resnet10t/se",
        "detector": "mask_rcnn",
        "image_size": 64,
        "image_width": 80,
        "classes": 3,
        "sizes": SMALL,
        "budget_s": 0.1,
        "min_repeats": 10,
    }
    return BenchmarkSpec.model_validate({**values, **fields})


def detector_of(spec: BenchmarkSpec) -> Detector:
    assert spec.detector != "none"
    return Detector(spec, name=spec.detector, device=torch.device("cpu"))


def first_pass(spec: BenchmarkSpec, backbone: str) -> Any:
    """What the detector finds in the first batch."""
    subject = detector_of(spec)
    detect = subject.make(backbone)[WHOLE]
    with torch.inference_mode():
        return detect(subject.inputs()[WHOLE][0])


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return benchmark.run(spec_of(), FolderContext(tmp_path_factory.mktemp("benchmark")))


def test_the_detector_and_its_backbone_have_a_row_each_beside_the_plain_network(
    result: Result,
) -> None:
    whole, backbone = result.rows
    assert (whole["part"], backbone["part"]) == ("", "backbone")
    for row in result.rows:
        assert row["ratio"] == pytest.approx(row["p50_ms"] / row["plain_p50_ms"])
        assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
        assert row["throughput_ips"] == pytest.approx(1000 / row["mean_ms"])
    assert backbone["p50_ms"] < whole["p50_ms"]
    assert whole["peak_memory_mib"] > 0
    assert result.scores == {
        "p50_ms": whole["p50_ms"],
        "ratio": whole["ratio"],
        "backbone_p50_ms": backbone["p50_ms"],
        "backbone_ratio": backbone["ratio"],
    }


def test_the_protocol_names_detector_size_part_and_what_is_not_mmdets(result: Result) -> None:
    whole, backbone = result.rows
    begin = "cpu fp32 nchw eager b1 64x80px 1 thread mask_rcnn feature_channels=16 "
    assert whole["protocol"].startswith(begin)
    assert whole["protocol"].endswith(" proposals=40 detections=5")
    assert backbone["protocol"] == f"{whole['protocol']} backbone"
    key = whole["protocol_key"]
    assert (key["detector"], key["image_size"], key["classes"]) == ("mask_rcnn", "64x80", 3)
    assert "detections=5" in key["changes"]


def test_the_row_says_with_how_many_regions_and_objects_and_what_is_in_the_time(
    result: Result,
) -> None:
    whole, backbone = (" | ".join(row["notes"]) for row in result.rows)
    assert "40 given regions an image" in whole
    assert "5 objects with their masks (pasted into the image) are returned" in whole
    assert "normalised and padded in time" in whole
    assert "the backbone of mask_rcnn alone" in backbone
    assert "regions" not in backbone


def test_the_facts_count_the_whole_detector_and_its_backbone(result: Result) -> None:
    facts = result.facts
    detector = make_detector(
        "mask_rcnn",
        backbone="resnet10t/se",
        classes=3,
        device="meta",
        sizes=detector_of(spec_of()).sizes,
    )
    whole = sum(one.numel() for one in detector.parameters())
    alone = sum(one.numel() for one in detector.get_submodule("backbone").parameters())
    assert (facts["params"], facts["backbone_params"]) == (whole, alone)
    assert facts["madds"] > facts["backbone_madds"] > 0
    assert (facts["detector"], facts["image_size"], facts["classes"]) == ("mask_rcnn", "64x80", 3)


@pytest.mark.parametrize("detector", ["mask_rcnn", "faster_rcnn"])
def test_every_backbone_works_on_the_same_regions_and_returns_as_many_objects(
    detector: str,
) -> None:
    spec = spec_of(detector=detector, batch=2)
    found = [first_pass(spec, text) for text in ("resnet10t/se", "mobilenetv2_050/conv")]
    for images in found:
        assert len(images) == 2
        for image in images:
            objects: Mapping[str, Tensor] = image.pred_instances
            assert len(objects["scores"]) == 5
            torch.testing.assert_close(objects["scores"], torch.full((5,), SCORE))
            torch.testing.assert_close(objects["bboxes"], found[0][0].pred_instances["bboxes"])
    has_masks = detector == "mask_rcnn"
    assert ("masks" in found[0][0].pred_instances) is has_masks
    if has_masks:
        assert found[0][0].pred_instances["masks"].shape == (5, 64, 80)


@pytest.mark.parametrize("classes", [2, 10])
def test_each_region_is_of_one_class_however_few_there_are(classes: int) -> None:
    spec = spec_of(classes=classes, sizes={**SMALL, "detections": 40})
    (image,) = first_pass(spec, "resnet10t/se")
    objects: Mapping[str, Tensor] = image.pred_instances
    assert set(objects["labels"].tolist()) == {0}


def test_another_seed_gives_other_regions() -> None:
    one, other = (first_pass(spec_of(seed=seed), "resnet10t/conv") for seed in (0, 1))
    boxes = [found[0].pred_instances["bboxes"] for found in (one, other)]
    assert not torch.equal(*boxes)


def test_the_backbone_gets_images_as_the_detector_pads_them() -> None:
    spec = spec_of(image_size=70, image_width=100)
    subject = detector_of(spec)
    seen: list[tuple[int, ...]] = []
    inputs = subject.inputs()
    detector = make_detector("mask_rcnn", backbone=spec.backbone, classes=3, sizes=subject.sizes)
    processor: Any = detector.get_submodule("data_preprocessor")
    padded = processor({"inputs": list(inputs[WHOLE][0])})["inputs"]
    seen.append(tuple(padded.shape))
    assert seen == [tuple(inputs[BACKBONE][0].shape)] == [(1, 3, 96, 128)]


def test_precision_and_layout_reach_the_detector(tmp_path: Path) -> None:
    spec = spec_of(precision="bf16", memory_format="nhwc", batch=2)
    kinds: set[torch.dtype] = set()
    layouts: set[bool] = set()

    def look(_: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        kinds.add(made.dtype)
        layouts.add(given[0].is_contiguous(memory_format=torch.channels_last))

    with nn.modules.module.register_module_forward_hook(
        lambda module, given, made: look(module, given, made) if type(module) is nn.Conv2d else None
    ):
        result = benchmark.run(spec, FolderContext(tmp_path))
    assert kinds == {torch.bfloat16}
    assert True in layouts
    assert "cpu bf16 nhwc eager b2 64x80px" in result.rows[0]["protocol"]
    assert result.rows[0]["throughput_ips"] == pytest.approx(2000 / result.rows[0]["mean_ms"])


def test_a_detector_is_measured_at_cocos_size_unless_said() -> None:
    usual = BenchmarkSpec(backbone="resnet50", detector="faster_rcnn")
    assert (usual.height_width, usual.classes) == ((800, 1280), 80)
    smaller = BenchmarkSpec(backbone="resnet50", detector="mask_rcnn", image_size=400)
    assert smaller.height_width == (400, 640)
    assert spec_of().height_width == (64, 80)


def test_a_network_by_itself_is_hashed_as_before_detectors_came() -> None:
    assert BenchmarkSpec(backbone="resnet18/conv").digest() == "09a3e5421be7b301"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"detector": "none", "sizes": {}}, "image_width is for detectors"),
        ({"detector": "none", "image_width": None}, "sizes is for detectors"),
        ({"engine": "fused"}, "detectors run eager"),
        ({"sizes": {"proposals": 0}}, r"sizes\.proposals: .*greater than or equal to 1"),
        ({"sizes": {"proposal": 5}}, r"sizes\.proposal: no such field.*proposals"),
        ({"detector": "mask_rcn"}, "'mask_rcnn' or 'faster_rcnn'"),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any], says: str) -> None:
    values = spec_of().model_dump() | fields
    with pytest.raises(SpecError, match=says):
        read_spec("benchmark", values)


def test_a_backbone_without_maps_of_several_strides_is_refused(tmp_path: Path) -> None:
    spec = spec_of(backbone="convmixer_768_32/conv")
    with pytest.raises(SpecError, match="maps of several strides"):
        benchmark.run(spec, FolderContext(tmp_path))


def test_running_out_of_memory_is_told_in_both_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_much(*_: object) -> object:
        return torch.empty(2**60)

    monkeypatch.setattr(Detector, "make", too_much)
    result = benchmark.run(spec_of(), FolderContext(tmp_path))
    for row in result.rows:
        assert row["p50_ms"] is None
        assert "out of memory: this backbone does not fit at batch 1" in row["notes"]
    assert result.scores == {}


def test_a_detection_run_says_how_its_detector_is_measured() -> None:
    recipe = {"base": "coco_1x", "output_norms": True, "proposals": 600}
    trained = read_spec("detect", {"backbone": "resnet50", "recipe": recipe})
    fields = kinds()["detect"].benchmark_of
    assert fields is not None
    measured = read_spec("benchmark", {**fields(trained), "backbone": "resnet50", "classes": 80})
    assert isinstance(measured, BenchmarkSpec)
    assert (measured.detector, measured.height_width) == ("mask_rcnn", (800, 1280))
    assert (measured.output_norms, measured.sizes.changed) == (True, {"proposals": 600})


def test_what_is_measured_is_counted_before_it_is_measured(result: Result) -> None:
    count = load_cost("benchmark")
    assert count is not None
    counted = count(spec_of(), classes=3)
    assert counted == {name: result.facts[name] for name in counted}
    plain = BenchmarkSpec(backbone="resnet18/conv")
    assert count(plain, classes=1000)["params"] == 11_689_512
