"""What a training run has measured is what it trains."""

from __future__ import annotations

import pytest

from jobs import recipes
from jobs.benchmark import BenchmarkSpec, DetectorSizes
from jobs.classify import ClassifySpec
from jobs.detect import DetectSpec
from jobs.detect.network import sizes_of
from jobs.job import get, read_spec

DETECTION = recipes.names(recipes.DetectionRecipe)


def benchmark_of(spec: ClassifySpec | DetectSpec, kind: str) -> BenchmarkSpec:
    fields = get(kind).benchmark_of
    assert fields is not None
    values = {**fields(spec), "backbone": spec.backbone, "classes": 10}
    found = read_spec("benchmark", values)
    assert isinstance(found, BenchmarkSpec)
    return found


@pytest.mark.parametrize("recipe", DETECTION)
@pytest.mark.parametrize("detector", ["mask_rcnn", "faster_rcnn"])
def test_a_detector_is_measured_with_its_parts_at_its_size(recipe: str, detector: str) -> None:
    spec = DetectSpec.model_validate(
        {"backbone": "resnet50/conv", "recipe": recipe, "detector": detector}
    )
    measured = benchmark_of(spec, "detect")
    assert measured.detector == detector
    assert measured.height_width == spec.recipe.counted_px
    assert measured.output_norms == spec.recipe.output_norms
    trained, usual = sizes_of(spec.recipe), sizes_of(recipes.get("coco_1x", type(spec.recipe)))
    for name in DetectorSizes.model_fields:
        changed = measured.sizes.changed.get(name)
        assert (changed or getattr(usual, name)) == getattr(trained, name), name


def test_a_network_is_measured_at_the_size_that_it_is_scored_at() -> None:
    spec = ClassifySpec.model_validate({"backbone": "resnet50/conv", "recipe": "kw_adv300"})
    measured = benchmark_of(spec, "classify")
    assert (measured.detector, measured.image_size) == ("none", spec.recipe.image_size)
