from __future__ import annotations

import json
import threading
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask
from sklearn.datasets import load_digits

from jobs.data import digit_scenes
from jobs.data.coco.scenes import Checked, check_scenes
from jobs.data.digits import split
from tests.jobs.coco_files import drawn

SIDES_PX = (24, 28, 32, 36, 40, 48, 56, 64, 72, 80)
SIDE = digit_scenes.SIDE_PX
FINGERPRINT = "b60a7600263cb032"
"""A change of it makes all earlier results on the set incomparable."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def folder(cache: Path) -> Path:
    return digit_scenes.write(cache)


@pytest.fixture(scope="module")
def checked(folder: Path, cache: Path) -> Checked:
    return check_scenes(folder, skip_bad=False, cache=cache, threads=1, status=lambda _: None)


def objects_of(folder: Path, split: str) -> list[dict[str, Any]]:
    file = folder / "annotations" / f"instances_{split}2017.json"
    found: list[dict[str, Any]] = json.loads(file.read_text("utf-8"))["annotations"]
    return found


def test_the_scenes_pass_the_check_without_a_finding(checked: Checked) -> None:
    assert checked.report.findings == ()
    assert (checked.train.count, checked.val.count) == (400, 100)
    assert checked.categories == tuple("0123456789")


def test_every_machine_writes_the_same_scenes(checked: Checked) -> None:
    assert checked.fingerprint == FINGERPRINT


def test_the_same_bytes_are_written_each_time(folder: Path, tmp_path: Path) -> None:
    again = digit_scenes.write(tmp_path)
    names = sorted(file.relative_to(folder) for file in folder.rglob("*.*"))
    assert len(names) == 502
    for name in names:
        assert (folder / name).read_bytes() == (again / name).read_bytes()


def test_no_scan_is_in_train_and_val(folder: Path) -> None:
    side = dict(split(load_digits().target.tolist()))
    for name in ("train", "val"):
        scans = {scan for one in objects_of(folder, name) for scan in one["scans"]}
        assert {side[scan] for scan in scans} == {name}
        assert len(scans) > 0.9 * sum(where == name for where in side.values())


def test_an_object_is_called_as_its_scans_are_labelled(folder: Path) -> None:
    labels = load_digits().target
    for one in objects_of(folder, "val"):
        assert {int(labels[scan]) + 1 for scan in one["scans"]} == {one["category_id"]}


def test_each_digit_is_there_about_as_often(folder: Path) -> None:
    counts = Counter(one["category_id"] for one in objects_of(folder, "train"))
    assert set(counts) == set(range(1, 11))
    assert max(counts.values()) < 1.3 * min(counts.values())


def test_masks_of_a_scene_share_no_pixel_and_boxes_fit_them(folder: Path) -> None:
    objects = objects_of(folder, "val")
    taken = np.zeros((101, SIDE, SIDE), dtype=int)
    for one in objects:
        pixels = drawn(one["segmentation"])
        taken[one["image_id"]] += pixels
        rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
        x, y, width, height = one["bbox"]
        assert (x, y, x + width, y + height) == (
            *(columns[0], rows[0]),
            *(columns[-1] + 1, rows[-1] + 1),
        )
        assert one["area"] == pixels.sum()
    assert taken.max() == 1


def test_a_mask_is_where_the_enlarged_scan_is_ink_but_for_what_hides_it(folder: Path) -> None:
    """Of whole digits; the ink is light or dark, and the ground between."""
    grey = load_digits().images
    whole = 0
    for one in objects_of(folder, "val"):
        x, y, width, height = map(int, one["bbox"])
        for side in SIDES_PX if not one["iscrowd"] else ():
            scan = Image.fromarray((grey[one["scans"][0]] * 255 / 16).astype("uint8"))
            ink = np.array(scan.resize((side, side), Image.Resampling.BICUBIC)) >= 120
            rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
            cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            if cut.shape == (height, width):
                seen = drawn(one["segmentation"])[y : y + height, x : x + width]
                assert not (seen & ~cut).any()
                whole += (seen == cut).all()
    assert whole > 100


def test_digits_overlap_and_none_is_hidden_by_half(folder: Path) -> None:
    """A box that reaches into another one is a sign of overlap."""
    touching = 0
    objects = [one for one in objects_of(folder, "val") if not one["iscrowd"]]
    for one, other in pairwise(objects):
        if one["image_id"] == other["image_id"]:
            boxes = np.array([one["bbox"], other["bbox"]])
            touching += mask.iou(boxes[:1], boxes[1:], [0])[0, 0] > 0.05
    assert touching > 50
    assert min(one["area"] for one in objects) > 40


def test_heaps_are_crowds_of_plain_runs(folder: Path) -> None:
    crowds = [one for one in objects_of(folder, "train") if one["iscrowd"]]
    assert len(crowds) == 40
    for one in crowds:
        assert len(one["scans"]) > 1
        assert sum(one["segmentation"]["counts"]) == SIDE * SIDE


def test_several_may_write_them_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digit_scenes, "SCENES", {"train": 12, "val": 4})
    threads = [threading.Thread(target=digit_scenes.write, args=(tmp_path,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.name for entry in tmp_path.iterdir()] == ["digit_scenes"]
    assert len(list((tmp_path / "digit_scenes" / "train2017").iterdir())) == 12
