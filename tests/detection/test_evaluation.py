"""COCO's scores: equal to pycocotools', whatever the annotations and the findings are."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detection.errors import DetectionError
from detection.evaluation import Scores, evaluate
from detection.found import Found, from_sample, results
from tests.detection.coco_truth import (
    CATEGORY_IDS,
    HEIGHT,
    WIDTH,
    blob,
    decode,
    encode,
    perturbed,
    write_truth,
)

EQUAL = 1e-4
"""Percent: six decimals of the share, where four are asked for."""
Entries = Sequence[Mapping[str, Any]]


def by_pycocotools(
    file: Path, entries: Entries, *, kind: str, image_ids: Sequence[int] | None = None
) -> tuple[list[float | None], dict[str, tuple[float | None, float | None]]]:
    """Twelve figures, and AP and AP50 by category, in percent."""
    part = "segmentation" if kind == "segm" else "bbox"
    names = ("image_id", "category_id", "score", part)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(file))
        evaluator = COCOeval(
            truth, truth.loadRes([{name: entry[name] for name in names} for entry in entries]), kind
        )
        if image_ids is not None:
            evaluator.params.imgIds = list(image_ids)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    precision = evaluator.eval["precision"]
    places = {number: place for place, number in enumerate(evaluator.params.catIds)}
    by_category = {}
    for category in truth.dataset["categories"]:
        at = precision[:, :, places[category["id"]], 0, -1]
        by_category[category["name"]] = (_mean_pct(at), _mean_pct(at[0]))
    return [_pct(figure) for figure in evaluator.stats], by_category


def _mean_pct(values: Any) -> float | None:
    defined = values[values > -1]
    return float(100 * defined.mean()) if defined.size else None


def _pct(share: float) -> float | None:
    return None if share == -1 else 100 * float(share)


def assert_equal(
    file: Path, entries: Entries, scores: Scores, *, image_ids: Sequence[int] | None = None
) -> None:
    """See that all figures are those of pycocotools."""
    for kind, ours in (("bbox", scores.box), ("segm", scores.mask)):
        assert ours is not None
        stats, by_category = by_pycocotools(file, entries, kind=kind, image_ids=image_ids)
        assert list(astuple(ours)) == pytest.approx(stats, abs=EQUAL)
        for row in scores.categories:
            pair = (
                (row.box_ap_pct, row.box_ap50_pct)
                if kind == "bbox"
                else (row.mask_ap_pct, row.mask_ap50_pct)
            )
            assert pair == pytest.approx(by_category[row.category], abs=EQUAL)


@pytest.mark.parametrize("seed", range(5))
def test_made_scenes_score_as_with_pycocotools(tmp_path: Path, seed: int) -> None:
    file = tmp_path / "truth.json"
    truth = write_truth(file, seed=seed)
    entries = results(
        perturbed(truth, seed=seed, category_ids=CATEGORY_IDS), category_ids=CATEGORY_IDS
    )
    scores = evaluate(file, entries, masks=True)
    assert_equal(file, entries, scores)
    assert scores.box.ap is not None
    assert 5 < scores.box.ap < 95  # neither end would tell much


def test_more_than_a_hundred_findings_score_as_with_pycocotools(tmp_path: Path) -> None:
    file = tmp_path / "truth.json"
    truth = write_truth(file, seed=11, images=3, objects=20)
    entries = results(
        perturbed(truth, seed=11, category_ids=CATEGORY_IDS, each=60), category_ids=CATEGORY_IDS
    )
    counts = [sum(entry["image_id"] == number for entry in entries) for number in (1, 2, 3)]
    assert max(counts) > 200
    assert_equal(file, entries, evaluate(file, entries, masks=True, threads=2))


@pytest.mark.data
def test_real_scenes_score_as_with_pycocotools(real_images: Path) -> None:
    file = real_images / "coco-tiny" / "annotations" / "instances_val2017.json"
    truth = json.loads(file.read_text())
    category_ids = [category["id"] for category in truth["categories"]]
    assert any(entry["iscrowd"] for entry in truth["annotations"])
    entries = results(
        perturbed(truth, seed=3, category_ids=category_ids), category_ids=category_ids
    )
    scores = evaluate(file, entries, masks=True)
    assert_equal(file, entries, scores)
    assert len(scores.categories) == 80


def test_only_the_images_that_were_asked_for_count(tmp_path: Path) -> None:
    file = tmp_path / "truth.json"
    truth = write_truth(file, seed=2)
    entries = results(
        perturbed(truth, seed=2, category_ids=CATEGORY_IDS), category_ids=CATEGORY_IDS
    )
    half = [1, 2, 3, 4]
    scores = evaluate(file, entries, masks=True, image_ids=half)
    assert_equal(file, entries, scores, image_ids=half)
    objects = [
        entry
        for entry in truth["annotations"]
        if entry["image_id"] in half and not entry["iscrowd"]
    ]
    assert sum(row.objects for row in scores.categories) == len(objects)


def test_finding_nothing_scores_nought(tmp_path: Path) -> None:
    file = tmp_path / "truth.json"
    write_truth(file, seed=0)
    scores = evaluate(file, [], masks=True)
    assert scores.named()["mask_ap_pct"] == 0
    assert set(scores.recalls().values()) == {0.0}


def test_what_has_no_objects_has_no_score(tmp_path: Path) -> None:
    file = tmp_path / "truth.json"
    truth = write_truth(file, seed=0)
    truth["annotations"] = [e for e in truth["annotations"] if e["area"] < 32**2]
    file.write_text(json.dumps(truth))
    scores = evaluate(file, [], masks=True)
    assert scores.box.ap_large is None
    assert "mask_ap_large_pct" not in scores.named()
    absent = scores.categories[-1]
    assert (absent.category, absent.images, absent.objects) == ("absent", 0, 0)
    assert absent.mask_ap_pct is None


def test_without_masks_there_are_no_scores_of_masks(tmp_path: Path) -> None:
    file = tmp_path / "truth.json"
    truth = write_truth(file, seed=0)
    boxes = [
        replace(one, masks=None) for one in perturbed(truth, seed=0, category_ids=CATEGORY_IDS)
    ]
    scores = evaluate(file, results(boxes, category_ids=CATEGORY_IDS), masks=False)
    assert scores.mask is None
    assert all(name.startswith("box_") for name in scores.named())
    assert scores.categories[0].mask_ap_pct is None


def test_an_object_of_number_nought_can_be_found(tmp_path: Path) -> None:
    file = tmp_path / "truth.json"
    truth = write_truth(file, seed=1)
    entries = results(
        perturbed(truth, seed=1, category_ids=CATEGORY_IDS), category_ids=CATEGORY_IDS
    )
    before = evaluate(file, entries, masks=True)
    for number, entry in enumerate(truth["annotations"]):
        entry["id"] = number
    file.write_text(json.dumps(truth))
    assert evaluate(file, entries, masks=True) == before


def test_scoring_leaves_the_findings_as_they_were_and_says_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "truth.json"
    truth = write_truth(file, seed=1)
    entries = results(
        perturbed(truth, seed=1, category_ids=CATEGORY_IDS), category_ids=CATEGORY_IDS
    )
    before = json.dumps(entries)
    evaluate(file, entries, masks=True)
    assert json.dumps(entries) == before
    assert tuple(capfd.readouterr()) == ("", "")


def test_findings_on_strange_images_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "truth.json"
    write_truth(file, seed=0, images=2)
    entry = {"image_id": 77, "category_id": 3, "bbox": [0, 0, 5, 5], "score": 0.5}
    with pytest.raises(DetectionError, match=r"1 images are not in .*truth\.json, such as 77"):
        evaluate(file, [entry], masks=False)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"images": []}'])
def test_a_file_that_holds_no_annotations_is_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "broken.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(DetectionError, match=r"broken\.json"):
        evaluate(file, [], masks=False)


def test_findings_are_written_in_the_format_of_coco() -> None:
    one = Found(
        image_id=5,
        boxes=np.array([[1, 2, 11.5, 22]], np.float32),
        scores=np.array([0.123456789], np.float32),
        labels=np.array([1]),
    )
    assert results([one], category_ids=[3, 7]) == [
        {"image_id": 5, "category_id": 7, "bbox": [1.0, 2.0, 10.5, 20.0], "score": 0.123457}
    ]


def sample(masks: torch.Tensor | None, count: int) -> Any:
    """What mmdet returns for one image."""
    from detection import openmmlab as openmmlab  # noqa: I001 (before mmdet)
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    found = InstanceData(
        bboxes=torch.arange(4.0).expand(count, 4),
        scores=torch.full((count,), 0.5),
        labels=torch.arange(count),
    )
    if masks is not None:
        found.masks = masks
    return DetDataSample(metainfo={"img_id": 9}, pred_instances=found)


def test_masks_of_the_detector_are_encoded_as_they_are() -> None:
    draw = np.random.default_rng(4)
    masks = np.stack([blob(draw) for _ in range(3)])
    found = from_sample(sample(torch.from_numpy(masks), 3))
    assert (found.image_id, found.boxes.shape) == (9, (3, 4))
    assert found.masks is not None
    assert found.masks == tuple(encode(mask) for mask in masks)
    for mask, encoded in zip(masks, found.masks, strict=True):
        assert np.array_equal(decode(encoded, size=(HEIGHT, WIDTH)), mask)


def test_a_detector_that_finds_nothing_is_taken_over_too() -> None:
    found = from_sample(sample(torch.zeros(0, HEIGHT, WIDTH, dtype=torch.bool), 0))
    assert (found.boxes.shape, found.masks) == ((0, 4), ())
    assert results([found], category_ids=CATEGORY_IDS) == []
    assert from_sample(sample(None, 2)).masks is None
