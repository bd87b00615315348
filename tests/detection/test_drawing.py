"""Pictures of what was found beside what is there."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detection.drawing import draw, side_by_side
from detection.errors import DetectionError
from detection.found import Found
from detection.painting import Colour, colour
from detection.sample import LIST, halves, read_list
from detection.samples import choose_images, write_samples
from detection.things import Thing, things_annotated, things_found
from tests.detection.coco_truth import (
    CATEGORY_IDS,
    HEIGHT,
    WIDTH,
    blob,
    encode,
    perturbed,
    write_truth,
)

NAMES = ("cat", "dog", "absent")
GREY = Image.new("RGB", (WIDTH, HEIGHT), (128, 128, 128))
CORNER = (60.0, 60.0, 120.0, 120.0)


def square(*, box: tuple[float, float, float, float] = CORNER, **fields: Any) -> Thing:
    """A thing whose mask is its box."""
    left, top, right, bottom = map(int, box)
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return Thing(box=box, label=0, mask=encode(mask), **fields)


def share_of(picture: Image.Image, wanted: Colour) -> float:
    """How much of a picture is of one colour."""
    return float((np.array(picture) == np.array(wanted)).all(axis=2).mean())


def test_small_images_are_enlarged_by_a_whole_number_and_large_ones_shrunk() -> None:
    assert draw(Image.new("RGB", (128, 96)), [], categories=NAMES).size == (640, 480)
    assert draw(Image.new("L", (640, 427)), [], categories=NAMES).size == (640, 427)
    assert draw(Image.new("RGB", (1000, 1600)), [], categories=NAMES).size == (500, 800)
    assert draw(Image.new("RGB", (1, 1)), [], categories=NAMES).size == (640, 640)


def test_a_mask_tints_what_is_below_it_and_nothing_else() -> None:
    drawn = np.array(draw(GREY, [square()], categories=NAMES))
    scale = drawn.shape[1] // WIDTH
    inside, outside = drawn[90 * scale, 90 * scale], drawn[140 * scale, 20 * scale]
    assert outside.tolist() == [128, 128, 128]
    expected = 128 + 0.35 * (np.array(colour(0)) - 128)
    assert inside == pytest.approx(expected, abs=1)


def test_a_crowd_is_hatched_and_dashed() -> None:
    crowd, plain = (
        np.array(draw(GREY, [square(is_crowd=is_crowd)], categories=NAMES))
        for is_crowd in (True, False)
    )
    scale = crowd.shape[1] // WIDTH
    patch = (slice(80 * scale, 100 * scale), slice(80 * scale, 100 * scale))
    assert len(np.unique(plain[patch].reshape(-1, 3), axis=0)) == 1
    assert len(np.unique(crowd[patch].reshape(-1, 3), axis=0)) == 2


def test_a_category_has_one_colour_and_neighbours_have_others() -> None:
    colours = [colour(label) for label in range(80)]
    assert len(set(colours)) == 80
    near = [np.abs(np.subtract(a, b)).sum() for a, b in pairwise(colours)]
    assert min(near) > 100
    thing = Thing(box=CORNER, label=1)
    picture = side_by_side(GREY, found=[thing], truth=[thing], categories=NAMES, caption="")
    for half in halves(picture):
        assert share_of(half, colour(1)) > 0.002


def test_both_halves_are_of_one_size_and_hold_their_own_side() -> None:
    picture = side_by_side(GREY, found=[square(score=0.9)], truth=[], categories=NAMES, caption="x")
    found, truth = halves(picture)
    assert found.size == truth.size
    assert share_of(found, colour(0)) > 0.002
    assert share_of(truth, colour(0)) == 0


def test_labels_do_not_cover_each_other_and_stay_inside() -> None:
    everywhere = Thing(box=(0, 0, WIDTH, HEIGHT), label=0, score=0.5)
    one = draw(GREY, [everywhere], categories=NAMES)
    many = draw(GREY, [everywhere] * 50, categories=NAMES)
    assert one.size == many.size
    # a label of each corner and side, and no more: each takes a place of its own
    assert share_of(one, colour(0)) < share_of(many, colour(0)) < 8 * share_of(one, colour(0))


def test_things_found_are_those_that_are_certain_enough_the_surest_first() -> None:
    found = Found(
        image_id=1,
        boxes=np.array([[0, 0, 5, 5], [1, 1, 6, 6], [2, 2, 7, 7]], np.float32),
        scores=np.array([0.4, 0.9, 0.1], np.float32),
        labels=np.array([2, 1, 0]),
    )
    assert [thing.label for thing in things_found(found)] == [1, 2]
    assert [thing.label for thing in things_found(found, least_score=0)] == [1, 2, 0]


def test_objects_may_have_polygons_and_either_run_length_encoding_or_no_mask() -> None:
    mask = blob(np.random.default_rng(0))
    columns = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(columns.astype(int))) + 1
    runs = np.diff([0, *edges, columns.size]).tolist()
    plain = {"size": [HEIGHT, WIDTH], "counts": [0, *runs] if columns[0] else runs}
    polygon = [[10.0, 10.0, 50.0, 10.0, 50.0, 50.0, 10.0, 50.0]]
    things = things_annotated(
        [
            {"category_id": 7, "bbox": [0, 1, 20, 30], "segmentation": segmentation}
            for segmentation in (polygon, encode(mask), plain, None)
        ],
        category_ids=CATEGORY_IDS,
        height=HEIGHT,
        width=WIDTH,
    )
    assert [thing.box for thing in things] == [(0, 1, 20, 31)] * 4
    assert {thing.label for thing in things} == {1}
    drawn = [np.array(draw(GREY, [thing], categories=NAMES)) for thing in things]
    assert np.array_equal(drawn[1], drawn[2])
    scale = drawn[0].shape[1] // WIDTH
    assert drawn[0][30 * scale, 30 * scale].tolist() != [128, 128, 128]
    assert things[3].mask is None


def test_a_mask_without_a_pixel_is_drawn_as_its_box() -> None:
    empty = encode(np.zeros((HEIGHT, WIDTH), bool))
    drawn = draw(GREY, [Thing(box=CORNER, label=0, mask=empty)], categories=NAMES)
    assert share_of(drawn, colour(0)) > 0


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """A folder with ``truth.json`` and the images that it names."""
    for image in write_truth(tmp_path / "truth.json", seed=5)["images"]:
        GREY.save(tmp_path / image["file_name"])
    return tmp_path


def write(split: Path, target: Path, **changes: Any) -> list[str]:
    """Write samples of a made split."""
    truth = json.loads((split / "truth.json").read_text())
    arguments = {
        "annotation_file": split / "truth.json",
        "images": split,
        "found": perturbed(truth, seed=1, category_ids=CATEGORY_IDS),
        "category_ids": CATEGORY_IDS,
        "count": 4,
    }
    return write_samples(target, **{**arguments, **changes})


def test_samples_are_written_with_a_list_that_says_what_they_show(
    split: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out"
    names = write(split, target)
    assert names == [*(f"samples/{number:03d}.png" for number in range(4)), LIST]
    listed = read_list((target / LIST).read_text())
    assert [entry.file for entry in listed] == names[:-1]
    truth = json.loads((split / "truth.json").read_text())
    for entry in listed:
        objects = [
            one
            for one in truth["annotations"]
            if one["image_id"] == entry.image_id and not one["iscrowd"]
        ]
        assert entry.objects == len(objects) > 0
        assert entry.name == f"{entry.image_id:04d}.png"
        with Image.open(target / entry.file) as picture:
            assert picture.width > 2 * picture.height


def test_what_is_no_list_of_samples_is_refused() -> None:
    for text in ("{", "[1]", '[{"file": "samples/000.png"}]'):
        with pytest.raises(DetectionError, match="no list of sample pictures"):
            read_list(text)


def test_every_run_of_a_data_set_shows_the_same_images(split: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write(split, first)
    write(split, second, found=[], least_score=0.9)
    shown = [
        [sample.image_id for sample in read_list((folder / LIST).read_text())]
        for folder in (first, second)
    ]
    assert shown[0] == shown[1]


def test_leaving_an_image_out_changes_no_other_choice(split: Path) -> None:
    truth = json.loads((split / "truth.json").read_text())
    chosen = choose_images(truth, count=5)
    truth["annotations"] = [
        entry for entry in truth["annotations"] if entry["image_id"] != chosen[1]
    ]
    assert choose_images(truth, count=4) == [chosen[0], *chosen[2:]]


def test_an_image_that_is_gone_is_named(split: Path, tmp_path: Path) -> None:
    for image in split.glob("*.png"):
        image.unlink()
    with pytest.raises(DetectionError, match=r"image .*\.png cannot be drawn on"):
        write(split, tmp_path / "out")


@pytest.mark.data
def test_real_scenes_are_drawn(real_images: Path, tmp_path: Path) -> None:
    root = real_images / "coco-tiny"
    file = root / "annotations" / "instances_val2017.json"
    truth = json.loads(file.read_text())
    category_ids = [category["id"] for category in truth["categories"]]
    names = write_samples(
        tmp_path,
        annotation_file=file,
        images=root / "val2017",
        found=perturbed(truth, seed=1, category_ids=category_ids),
        category_ids=category_ids,
        count=8,
    )
    assert len(names) == 9
    assert sum(sample.found for sample in read_list((tmp_path / LIST).read_text())) > 0
