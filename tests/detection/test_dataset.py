from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from detection.dataset import CocoImages, collate, dataset
from detection.errors import ConfigError
from detection.pipelines import Cropping, Resizing, evaluation_pipeline, train_pipeline
from jobs.data.draws import drawing
from tests.detection.coco_truth import CATEGORIES, HEIGHT, WIDTH, write_truth

NAMES = tuple(str(category["name"]) for category in CATEGORIES)
DRAWING = Resizing((96, 112, 128), long_side=200, crop=Cropping((90, 110), smallest=48, largest=80))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images of noise, two of them without objects, and what is in them."""
    root = tmp_path_factory.mktemp("coco")
    truth = write_truth(root / "annotations.json", seed=3)
    draw = np.random.default_rng(4)
    for image in truth["images"]:
        pixels = draw.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / image["file_name"])
    return root


def made(folder: Path, **changed: Any) -> CocoImages:
    how: dict[str, Any] = {
        "classes": NAMES,
        "pipeline": train_pipeline(Resizing((HEIGHT,), long_side=WIDTH), flip=0.0),
        "training": True,
    }
    return dataset(folder / "annotations.json", folder, **{**how, **changed})


def truth_of(folder: Path) -> Any:
    return json.loads((folder / "annotations.json").read_text())


def test_training_takes_images_with_objects_and_evaluation_all_in_the_order_of_the_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = made(folder)
    evaluation = made(folder, training=False, pipeline=evaluation_pipeline())
    numbers = [image["id"] for image in truth_of(folder)["images"]]
    assert [evaluation.get_data_info(at)["img_id"] for at in range(len(evaluation))] == numbers
    kept = [training.get_data_info(at)["img_id"] for at in range(len(training))]
    assert kept == [number for number in numbers if number % 6]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("classes", [NAMES, tuple(reversed(NAMES))])
def test_labels_count_the_categories_in_the_order_asked_for(
    folder: Path, classes: tuple[str, ...]
) -> None:
    images = made(folder, classes=classes)
    ids = {category["name"]: category["id"] for category in CATEGORIES}
    assert images.cat_ids == [ids[name] for name in classes]
    assert images.metainfo["classes"] == classes
    truth = truth_of(folder)["annotations"]
    for at in range(len(images)):
        about = images.get_data_info(at)
        wanted = [entry["category_id"] for entry in truth if entry["image_id"] == about["img_id"]]
        assert [images.cat_ids[one["bbox_label"]] for one in about["instances"]] == wanted


def test_objects_have_their_boxes_and_masks_and_crowds_are_set_apart(folder: Path) -> None:
    images = made(folder)
    truth = truth_of(folder)["annotations"]
    crowds = 0
    for sample in (images[at] for at in range(len(images))):
        objects = sample["data_samples"]
        here = [entry for entry in truth if entry["image_id"] == objects.img_id]
        boxes = [entry["bbox"] for entry in here if not entry["iscrowd"]]
        found = objects.gt_instances.bboxes.tensor
        found = torch.cat([found[:, :2], found[:, 2:] - found[:, :2]], dim=1)
        assert torch.allclose(found, torch.tensor(boxes).reshape(-1, 4))
        areas = objects.gt_instances.masks.masks.sum(axis=(1, 2)).tolist()
        assert areas == [entry["area"] for entry in here if not entry["iscrowd"]]
        assert len(objects.ignored_instances) == len(here) - len(boxes)
        crowds += len(here) - len(boxes)
    assert crowds


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_annotations_may_be_in_any_encoding_of_json(
    folder: Path, tmp_path: Path, encoding: str
) -> None:
    other = tmp_path / "annotations.json"
    other.write_text((folder / "annotations.json").read_text("utf-8"), encoding)
    pipeline = train_pipeline(Resizing((HEIGHT,), long_side=WIDTH), flip=0.0)
    read = dataset(other, folder, classes=NAMES, pipeline=pipeline, training=True)
    assert len(read) == len(made(folder))


def test_pixels_come_in_blue_green_red(folder: Path) -> None:
    images = made(folder, training=False)
    about = images.get_data_info(2)
    pixels = np.asarray(Image.open(about["img_path"]))[:, :, ::-1].transpose(2, 0, 1)
    assert torch.equal(images[2]["inputs"], torch.from_numpy(pixels.copy()))


def test_an_image_depends_on_the_draws_it_starts_from_and_on_nothing_before(folder: Path) -> None:
    images = made(folder, pipeline=train_pipeline(DRAWING))

    def taken(index: int, *, seed: int) -> torch.Tensor:
        with drawing(seed):
            pixels: torch.Tensor = images[index]["inputs"]
            return pixels

    first = [taken(index, seed=index) for index in range(len(images))]
    again = [taken(index, seed=index) for index in reversed(range(len(images)))]
    assert all(map(torch.equal, first, reversed(again)))
    assert any(
        not torch.equal(taken(index, seed=index + 100), one) for index, one in enumerate(first)
    )


@pytest.mark.slow
def test_a_fresh_process_can_be_sent_the_data_set(folder: Path, repository: Path) -> None:
    images = made(folder)
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer)[1]['inputs'].long().sum())"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        input=pickle.dumps(images),
        cwd=repository,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.stderr == b""
    assert done.stdout.decode().strip() == str(images[1]["inputs"].long().sum())


def test_a_category_that_the_file_lacks_and_a_set_without_objects_are_refused(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"\['unicorn'\].*cat"):
        made(folder, classes=("cat", "unicorn"))
    empty = {**truth_of(folder), "annotations": []}
    (tmp_path / "annotations.json").write_text(json.dumps(empty))
    with pytest.raises(ConfigError, match="no image"):
        made(tmp_path)


def test_small_images_are_left_out_of_training_on_request(folder: Path) -> None:
    assert len(made(folder, min_side=HEIGHT)) == 10
    with pytest.raises(ConfigError, match="no image"):
        made(folder, min_side=HEIGHT + 1)


@pytest.mark.data
def test_real_photographs_are_read_with_all_their_objects(real_images: Path) -> None:
    root = real_images / "coco-tiny"
    file = root / "annotations" / "instances_train2017.json"
    content = json.loads(file.read_text())
    images = dataset(
        file,
        root / "train2017",
        classes=[category["name"] for category in content["categories"]],
        pipeline=train_pipeline(Resizing((160,), long_side=267)),
        training=True,
    )
    batch = collate([images[at] for at in range(len(images))])
    assert len(batch["inputs"]) == len(content["images"]) == 80
    objects = [sample.gt_instances for sample in batch["data_samples"]]
    crowds = sum(entry["iscrowd"] for entry in content["annotations"])
    assert sum(map(len, objects)) == len(content["annotations"]) - crowds
    for image, found in zip(batch["inputs"], objects, strict=True):
        assert min(image.shape[1:]) <= 160
        assert found.masks.masks.shape[1:] == image.shape[1:]
        assert (found.bboxes.tensor >= 0).all()
