from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.data import source
from jobs.data.coco.layout import category_names, image_files, read_categories
from jobs.errors import DatasetError
from tests.jobs.coco_files import CATEGORIES, CocoFolder, Document, small_coco

LIGHT = """
import sys
from jobs.data import source
source.precheck(sys.argv[1], task="detect")
print(sorted({"torch", "numpy", "PIL", "pycocotools", "sklearn"} & set(sys.modules)))
"""


@pytest.fixture
def coco(tmp_path: Path) -> CocoFolder:
    return small_coco(tmp_path / "few")


def test_categories_come_in_the_order_of_their_ids(coco: CocoFolder) -> None:
    for split in ("train", "val"):
        coco.change(split, lambda document: document["categories"].reverse())
    assert category_names(coco.root) == ("cup", "fork", "plate")


def test_a_sound_folder_passes_with_names_only_read_and_nothing_heavy(coco: CocoFolder) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, str(coco.root)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


@pytest.mark.parametrize("place", ["first", "last", "in the middle"])
def test_categories_are_found_wherever_they_stand(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.data.coco.layout._END_BYTES", 500)
    much = [{"id": number, "file_name": f"{number}.jpg"} for number in range(100)]
    document: Document = {
        "first": {"categories": CATEGORIES, "images": much},
        "last": {"images": much, "categories": CATEGORIES},
        "in the middle": {"images": much, "categories": CATEGORIES, "annotations": much},
    }[place]
    file = tmp_path / "instances.json"
    file.write_text(json.dumps(document))
    assert read_categories(file) == {3: "cup", 7: "fork", 90: "plate"}


def test_another_list_of_that_name_is_not_taken_for_the_categories(tmp_path: Path) -> None:
    file = tmp_path / "instances.json"
    document = {"info": {"categories": ["street", "kitchen"]}, "categories": CATEGORIES}
    file.write_text(json.dumps(document))
    assert read_categories(file) == {3: "cup", 7: "fork", 90: "plate"}


@pytest.mark.parametrize("missing", ["annotations/instances_val2017.json", "train2017"])
def test_what_is_missing_of_the_layout_is_named(coco: CocoFolder, missing: str) -> None:
    (coco.root / missing).rename(coco.root / "elsewhere")
    with pytest.raises(DatasetError, match=f"has no {missing}; expected .*found .*elsewhere"):
        source.precheck(str(coco.root), task="detect")


def test_an_image_folder_without_images_is_refused(coco: CocoFolder) -> None:
    for file in (coco.root / "val2017").iterdir():
        file.unlink()
    with pytest.raises(DatasetError, match=r"val2017 has no image \("):
        source.precheck(str(coco.root), task="detect")


@pytest.mark.parametrize("content", ["", "{", "[1, 2]"])
def test_a_file_that_is_no_json_object_is_refused(coco: CocoFolder, content: str) -> None:
    coco.file("train").write_text(content)
    with pytest.raises(DatasetError, match=r"instances_train2017\.json"):
        source.precheck(str(coco.root), task="detect")


@pytest.mark.parametrize(
    ("categories", "why"),
    [
        ([], "no list of categories"),
        (None, "no list of categories"),
        ([{"id": 1}], "should have an id .* and a name"),
        ([{"id": "1", "name": "cup"}], "should have an id .* and a name"),
        ([{"id": 1, "name": "cup"}, {"id": 1, "name": "fork"}], "the id or the name of another"),
        ([{"id": 1, "name": "cup"}, {"id": 2, "name": "cup"}], "the id or the name of another"),
    ],
)
def test_categories_that_are_none_are_refused(
    coco: CocoFolder, categories: object, why: str
) -> None:
    coco.change("train", lambda document: document.update(categories=categories))
    with pytest.raises(DatasetError, match=why):
        source.precheck(str(coco.root), task="detect")


def test_categories_that_differ_between_train_and_val_are_named(coco: CocoFolder) -> None:
    coco.change("val", lambda document: document["categories"][1].update(name="spoon"))
    with pytest.raises(DatasetError, match=r"only in train: 7 fork; only in val: 7 spoon"):
        source.precheck(str(coco.root), task="detect")


def test_images_in_folders_below_count_and_hidden_files_do_not(coco: CocoFolder) -> None:
    below = coco.root / "val2017" / "more"
    below.mkdir()
    (below / "one.png").touch()
    (below / ".two.png").touch()
    (below / "notes.txt").touch()
    names = [name for name, _ in image_files(coco.root / "val2017")]
    assert sorted(names) == ["000000002000.jpg", "000000002001.jpg", "more/one.png"]


def test_an_embedded_set_serves_the_task_that_it_is_made_for() -> None:
    source.precheck("digit_scenes", task="detect")
    source.precheck("digits", task="classify")
    with pytest.raises(DatasetError, match="digits is made to classify; to detect, use digit_sc"):
        source.precheck("digits", task="detect")
    with pytest.raises(DatasetError, match="digit_scenes is made to detect; to classify, use digi"):
        source.precheck("digit_scenes")


def test_a_folder_of_objects_is_refused_for_classes(coco: CocoFolder) -> None:
    for look in (
        lambda: source.precheck(str(coco.root)),
        lambda: source.read_listing(coco.root),
    ):
        with pytest.raises(DatasetError, match="use it in a run of kind detect"):
            look()


def test_a_folder_of_classes_is_refused_for_objects(few_digits: Path) -> None:
    with pytest.raises(DatasetError, match="use it in a run of kind classify"):
        source.precheck(str(few_digits), task="detect")


def test_a_folder_that_is_not_there_names_the_set_that_is_near(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="digit_scenes"):
        source.precheck(str(tmp_path / "digit_scene"), task="detect")


def test_class_names_of_a_folder_of_objects_are_its_categories(coco: CocoFolder) -> None:
    assert source.class_names(coco.root) == ("cup", "fork", "plate")
