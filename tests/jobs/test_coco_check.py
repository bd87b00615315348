from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.mask import area

from jobs.data.coco import scenes
from jobs.data.coco.faults import Effect, Fault
from jobs.data.coco.progress import Progress
from jobs.data.coco.scenes import Checked
from jobs.errors import DatasetError
from tests.jobs.coco_files import HEIGHT, WIDTH, CocoFolder, Document, rectangle, runs, small_coco

FIRST = "000000001000.jpg"
NAN = float("nan")
SEED = 20


@pytest.fixture
def coco(tmp_path: Path) -> CocoFolder:
    return small_coco(tmp_path / "few")


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., Checked]:
    def run(
        folder: CocoFolder, *, skip_bad: bool = False, said: list[str] | None = None, **more: Any
    ) -> Checked:
        told = [] if said is None else said
        more = {"cache": tmp_path / "cache", "threads": 2, **more}
        return scenes.check_scenes(folder.root, skip_bad=skip_bad, status=told.append, **more)

    return run


Check = Callable[..., Checked]


def found_in_train(checked: Checked) -> dict[str, int]:
    return {one.fault: one.count for one in checked.report.findings if one.split == "train"}


def test_a_sound_folder_is_used_as_it_is(coco: CocoFolder, check: Check) -> None:
    found = check(coco)
    assert found.categories == ("cup", "fork", "plate")
    assert (found.train.count, found.train.objects) == (4, 9)
    assert (found.val.count, found.val.objects) == (2, 5)
    assert found.train.annotations == coco.file("train")
    assert found.val.images == coco.root / "val2017"
    assert (found.skipped_images, found.skipped_objects) == (0, 0)
    assert [one.fault for one in found.report.findings] == ["category_unused"] * 2  # only a crowd


# --- objects that are left out


@pytest.mark.parametrize(
    ("fields", "fault", "example"),
    [
        ({"image_id": 5}, Fault.UNKNOWN_IMAGE, "image 5, object 10000"),
        ({"image_id": "1000"}, Fault.UNKNOWN_IMAGE, "image '1000'"),
        ({"image_id": [1]}, Fault.UNKNOWN_IMAGE, "image [1]"),
        ({"category_id": 4}, Fault.UNKNOWN_CATEGORY, "category 4"),
        ({"category_id": None}, Fault.UNKNOWN_CATEGORY, "category None"),
        ({"iscrowd": 2}, Fault.OBJECT_RECORD, "iscrowd 2"),
        ({"iscrowd": []}, Fault.OBJECT_RECORD, "iscrowd []"),
        ({"bbox": None}, Fault.BOX_MALFORMED, "None"),
        ({"bbox": [4, 5, 12]}, Fault.BOX_MALFORMED, "[4, 5, 12]"),
        ({"bbox": [4, 5, -12, 10]}, Fault.BOX_MALFORMED, "[4, 5, -12, 10]"),
        ({"bbox": [4, 5, NAN, 10]}, Fault.BOX_MALFORMED, "[4, 5, nan, 10]"),
        ({"bbox": [4, 5, 10**400, 10]}, Fault.BOX_MALFORMED, "[4, 5, 1000"),
        ({"bbox": [70, 5, 12, 10]}, Fault.BOX_OUTSIDE, "[70, 5, 12, 10] in 64 x 48"),
        ({"bbox": [64, 5, 12, 10]}, Fault.BOX_OUTSIDE, "[64, 5, 12, 10] in 64 x 48"),
        ({"bbox": [40, 30, 12, 10]}, Fault.BOX_ELSEWHERE, "mask [4, 5, 16, 15]"),
        ({"bbox": [4, 5, 16, 15]}, Fault.BOX_CORNERS, "mask [4, 5, 16, 15]"),
        ({"segmentation": None}, Fault.MASK_MISSING, "no segmentation"),
        ({"segmentation": []}, Fault.MASK_EMPTY, "no polygon"),
        ({"segmentation": [[4, 5, 16, 15]]}, Fault.MASK_MALFORMED, "2 points"),
        ({"segmentation": {"size": [48, 64], "counts": [3072]}}, Fault.MASK_EMPTY, "no pixel"),
        ({"segmentation": {"size": [9, 9], "counts": [81]}}, Fault.MASK_MALFORMED, "[9, 9]"),
    ],
)
def test_an_object_that_cannot_be_used_refuses_the_run_or_is_left_out(
    coco: CocoFolder, check: Check, fields: dict[str, Any], fault: Fault, example: str
) -> None:
    coco.change_object(**fields)
    with pytest.raises(DatasetError, match=r"1 of 9 objects of train cannot be used") as caught:
        check(coco)
    assert example in str(caught.value)
    assert f"{fault.text} (1): " in str(caught.value)
    assert "go on without them: --skip-bad" in str(caught.value)
    found = check(coco, skip_bad=True)
    assert found.report.count(fault, "train") == 1
    assert (found.train.objects, found.skipped_objects, found.skipped_images) == (8, 1, 0)
    kept = json.loads(found.train.annotations.read_text())
    assert kept["annotations"] == coco.read("train")["annotations"][1:]
    assert kept["images"] == coco.read("train")["images"]
    assert found.val.annotations == coco.file("val")


def test_boxes_written_as_two_corners_are_known(coco: CocoFolder, check: Check) -> None:
    def spoil(document: Document) -> None:
        for one in document["annotations"]:
            x, y, width, height = one["bbox"]
            one["bbox"] = [x, y, x + width, y + height]

    coco.change("train", spoil)
    with pytest.raises(DatasetError, match=r"two corners, not x, y, width, height \(9\)"):
        check(coco)


def test_an_object_listed_twice_is_left_out_once(coco: CocoFolder, check: Check) -> None:
    coco.change("train", lambda doc: doc["annotations"].append(dict(doc["annotations"][0])))
    found = check(coco, skip_bad=True)
    assert found_in_train(found)["object_twice"] == 1
    assert found.train.objects == 9


# --- images that are left out


def missing(coco: CocoFolder) -> None:
    coco.image("train", FIRST).unlink()


def truncated(coco: CocoFolder) -> None:
    file = coco.image("train", FIRST)
    file.write_bytes(file.read_bytes()[:-200])


def no_image(coco: CocoFolder) -> None:
    coco.image("train", FIRST).write_bytes(b"no image")


def empty(coco: CocoFolder) -> None:
    coco.image("train", FIRST).write_bytes(b"")


def a_folder(coco: CocoFolder) -> None:
    coco.image("train", FIRST).unlink()
    coco.image("train", FIRST).mkdir()


def other_size(coco: CocoFolder) -> None:
    coco.change("train", lambda document: document["images"][0].update(width=HEIGHT, height=WIDTH))


def turned(coco: CocoFolder) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(coco.image("train", FIRST)) as image:
        pixels = image.copy()
    pixels.save(coco.image("train", FIRST), exif=exif)


def unnamed(coco: CocoFolder) -> None:
    coco.change("train", lambda document: document["images"][0].update(file_name=""))


def below_nought(coco: CocoFolder) -> None:
    def change(document: Document) -> None:
        for record, name in (
            (document["images"][0], "id"),
            *((one, "image_id") for one in document["annotations"] if one["image_id"] == 1000),
        ):
            record[name] = -1

    coco.change("train", change)


def of_a_format_without_a_loader(coco: CocoFolder) -> None:
    Image.new("RGB", (WIDTH, HEIGHT)).save(coco.image("train", FIRST), "TGA")


def of_floats(coco: CocoFolder) -> None:
    Image.new("F", (WIDTH, HEIGHT)).save(coco.image("train", FIRST), "TIFF")


@pytest.mark.parametrize(
    ("spoil", "fault", "example"),
    [
        (missing, Fault.IMAGE_MISSING, FIRST),
        (truncated, Fault.IMAGE_UNREADABLE, f"{FIRST}: image file is truncated"),
        (no_image, Fault.IMAGE_UNREADABLE, f"{FIRST}: not an image"),
        (empty, Fault.IMAGE_UNREADABLE, f"{FIRST}: the file is empty"),
        (a_folder, Fault.IMAGE_UNREADABLE, f"{FIRST}: Is a directory"),
        (other_size, Fault.IMAGE_SIZE, "said to be 48 x 64, it is 64 x 48"),
        (turned, Fault.IMAGE_SIZE, "it is 48 x 64 (as its EXIF orientation turns it)"),
        (unnamed, Fault.IMAGE_RECORD, "number 0 of the list"),
        (below_nought, Fault.IMAGE_RECORD, "number 0 of the list: {'id': -1"),
        (of_a_format_without_a_loader, Fault.IMAGE_UNREADABLE, "load this kind of TGA"),
        (of_floats, Fault.IMAGE_UNREADABLE, "load this kind of TIFF"),
    ],
)
def test_an_image_that_cannot_be_used_is_left_out_with_its_objects(
    coco: CocoFolder,
    check: Check,
    spoil: Callable[[CocoFolder], None],
    fault: Fault,
    example: str,
) -> None:
    spoil(coco)
    with pytest.raises(DatasetError) as caught:
        check(coco)
    assert "1 of 4 images and 3 of 9 objects of train cannot be used" in str(caught.value)
    assert example in str(caught.value)
    found = check(coco, skip_bad=True)
    assert found.report.count(fault, "train") == 1
    assert (found.train.count, found.train.objects) == (3, 6)
    assert (found.skipped_images, found.skipped_objects) == (1, 3)
    kept = json.loads(found.train.annotations.read_text())
    assert FIRST not in [one["file_name"] for one in kept["images"]]
    assert 1000 not in {one["image_id"] for one in kept["annotations"]}


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "BMP", "GIF"])
def test_other_formats_are_sound_where_training_loads_them(
    coco: CocoFolder, check: Check, kind: str
) -> None:
    Image.new("RGB", (WIDTH, HEIGHT)).save(coco.image("train", FIRST), kind)
    assert check(coco).train.count == 4


def test_a_size_is_that_with_which_training_loads_the_image(coco: CocoFolder, check: Check) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # which the loader heeds in a JPEG and not in an AVIF
    Image.new("RGB", (WIDTH, HEIGHT)).save(coco.image("train", FIRST), "AVIF", exif=turned)
    assert check(coco).train.count == 4


def test_a_category_whose_id_scoring_would_round_is_refused(coco: CocoFolder, check: Check) -> None:
    for split in ("train", "val"):
        coco.change(split, lambda document: document["categories"][0].update(id=2**60))
    with pytest.raises(DatasetError, match="number the categories from 1 on"):
        check(coco)


def test_images_that_share_an_id_are_left_out_all(coco: CocoFolder, check: Check) -> None:
    coco.change("train", lambda document: document["images"][1].update(id=1000))
    found = check(coco, skip_bad=True)
    assert found_in_train(found)["image_id_twice"] == 2
    assert found_in_train(found)["unknown_image"] == 2  # the objects of the id that is no more
    assert (found.train.count, found.train.objects) == (2, 4)


def test_an_image_listed_twice_stays_once(coco: CocoFolder, check: Check) -> None:
    coco.change("train", lambda document: document["images"].append(document["images"][0]))
    found = check(coco, skip_bad=True)
    assert found_in_train(found)["image_twice"] == 1
    assert (found.train.count, found.train.objects) == (4, 9)


# --- what is mended without leave, since nothing is lost


def test_ids_that_scoring_misreads_are_numbered_anew(coco: CocoFolder, check: Check) -> None:
    def spoil(document: Document) -> None:
        for place, one in enumerate(document["annotations"]):
            one["id"] = place % 2  # as of a converter that counts from 0 in each image

    coco.change("train", spoil)
    found = check(coco)
    assert found_in_train(found)["object_ids"] > 5
    kept = json.loads(found.train.annotations.read_text())["annotations"]
    assert [one["id"] for one in kept] == list(range(1, 10))
    assert found.skipped_objects == 0


@pytest.mark.parametrize("area", [None, -3.0, NAN, 0, "120"])
def test_an_unsound_area_is_taken_from_the_mask(
    coco: CocoFolder, check: Check, area: object
) -> None:
    coco.change_object(area=area)
    found = check(coco)
    assert found_in_train(found)["area"] == 1
    assert json.loads(found.train.annotations.read_text())["annotations"][0]["area"] == 120


def test_missing_sizes_and_crowd_flags_and_slivers_are_mended(
    coco: CocoFolder, check: Check
) -> None:
    def spoil(document: Document) -> None:
        del document["images"][0]["width"], document["images"][0]["height"]
        del document["annotations"][0]["iscrowd"]
        document["annotations"][0]["segmentation"].append([1, 1, 2, 2])

    sound = check(coco)
    coco.change("train", spoil)
    found = check(coco)
    effects = {one.effect for one in found.report.findings if one.split == "train"}
    assert effects == {Effect.MENDED, Effect.TOLD}
    kept = json.loads(found.train.annotations.read_text())
    assert kept == coco_of(sound)
    assert found.fingerprint == sound.fingerprint


def coco_of(found: Checked) -> Document:
    small = small_coco(found.train.images.parent.parent / "again")
    return small.read("train")


# --- what is only told


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"bbox": [-5, 5, 21, 10]}, Fault.BOX_BEYOND),
        ({"bbox": [4, 5, 12, 0]}, Fault.BOX_THIN),
        ({"bbox": [2, 2, 24, 24]}, Fault.BOX_LOOSE),
        ({"iscrowd": 1}, Fault.CROWD_POLYGON),
        (
            {"bbox": [4, 5, 0.2, 0.2], "segmentation": [rectangle(4.2, 5.2, 0.2, 0.2)], "area": 0},
            Fault.MASK_UNDER_PIXEL,
        ),
    ],
)
def test_what_is_odd_and_legal_is_only_told(
    coco: CocoFolder, check: Check, fields: dict[str, Any], fault: Fault
) -> None:
    coco.change_object(**fields)
    found = check(coco)
    assert found.report.count(fault, "train") == 1
    assert found.train.annotations == coco.file("train")


def test_a_box_that_passes_the_edge_by_rounding_is_sound(coco: CocoFolder, check: Check) -> None:
    coco.change_object(bbox=[-0.4, 5, 16.4, 10])
    assert not check(coco).report.count(Fault.BOX_BEYOND, "train")


def test_run_lengths_of_a_single_object_are_sound(coco: CocoFolder, check: Check) -> None:
    coco.change_object(segmentation={"size": [HEIGHT, WIDTH], "counts": runs(4, 5, 12, 10)})
    assert set(found_in_train(check(coco))) == {"category_unused"}


def test_images_without_objects_and_files_that_are_not_listed_are_told(
    coco: CocoFolder, check: Check
) -> None:
    shutil.copy(coco.image("val", "000000002000.jpg"), coco.image("train", "stray.jpg"))
    coco.change("train", lambda document: document["annotations"].pop(0))
    coco.change("train", lambda document: document["annotations"].pop(-1))
    coco.change("train", lambda document: document["annotations"].pop(0))
    found = check(coco)
    assert found_in_train(found) == {"no_objects": 1, "unlisted": 1, "category_unused": 1}


def test_an_image_in_train_and_val_is_told(coco: CocoFolder, check: Check) -> None:
    shutil.copy(coco.image("val", "000000002000.jpg"), coco.image("train", FIRST))
    found = check(coco)
    assert found.report.count(Fault.IN_BOTH, "train") == 1
    assert f"{FIRST} and 000000002000.jpg" in "\n".join(found.report.lines())


def test_a_file_under_two_ids_is_told(coco: CocoFolder, check: Check) -> None:
    coco.change("train", lambda document: document["images"][1].update(file_name=FIRST))
    assert found_in_train(check(coco))["file_twice"] == 1


# --- the whole


def mutated(document: Document, draw: random.Random) -> None:
    """Put something odd in the place of a value somewhere in a document."""
    odd: tuple[object, ...] = (
        None,
        -1,
        0,
        1.5,
        NAN,
        1e300,
        "",
        "a\0b",
        [],
        {},
        [[]],
        [None],
        True,
        {"id": 1},
    )
    place: Any = document[draw.choice(["images", "annotations"])]
    while True:
        key = draw.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if draw.random() < 0.4 or not isinstance(place[key], dict | list) or not place[key]:
            place[key] = draw.choice(odd)
            return
        place = place[key]


def test_whatever_is_written_into_an_annotation_file_is_used_or_named(
    coco: CocoFolder, check: Check, tmp_path: Path
) -> None:
    draw = random.Random(SEED)
    sound = coco.read("train")
    outcomes = set()
    for number in range(200):
        document = json.loads(json.dumps(sound))
        for _ in range(draw.randint(1, 4)):
            mutated(document, draw)
        coco.file("train").write_text(json.dumps(document), "utf-8")
        try:
            found = check(coco, skip_bad=True, cache=tmp_path / str(number))
        except DatasetError:
            outcomes.add("refused")
        else:
            outcomes.add("used")
            # pycocotools takes what is left
            kept = json.loads(found.train.annotations.read_text())
            read = COCO()
            read.dataset = kept
            with contextlib.redirect_stdout(io.StringIO()):
                read.createIndex()
            for one in kept["annotations"]:
                assert 0 <= area(read.annToRLE(one)) <= HEIGHT * WIDTH
    assert "used" in outcomes


def test_nothing_left_is_refused_even_with_leave_to_skip(coco: CocoFolder, check: Check) -> None:
    for file in (coco.root / "train2017").iterdir():
        file.write_bytes(b"spoiled")
    with pytest.raises(
        DatasetError, match="no object but crowds can be used in train; train: images"
    ):
        check(coco, skip_bad=True)


def test_a_split_without_objects_is_refused(coco: CocoFolder, check: Check) -> None:
    coco.change("val", lambda document: document["annotations"].clear())
    with pytest.raises(
        DatasetError, match="but crowds can be used in val; val: images without objects"
    ):
        check(coco)


def test_a_split_of_crowds_alone_is_refused(coco: CocoFolder, check: Check) -> None:
    coco.change("val", lambda document: [one.update(iscrowd=1) for one in document["annotations"]])
    with pytest.raises(DatasetError, match="no object but crowds can be used in val"):
        check(coco)


@pytest.mark.parametrize("name", ["images", "annotations"])
def test_a_missing_list_is_refused(coco: CocoFolder, check: Check, name: str) -> None:
    coco.change("train", lambda document: document.pop(name))
    with pytest.raises(DatasetError, match=f"has no list of {name}; found "):
        check(coco)


def test_many_faults_are_counted_with_a_few_examples(coco: CocoFolder, check: Check) -> None:
    def spoil(document: Document) -> None:
        for one in document["annotations"]:
            one["category_id"] = 55

    coco.change("train", spoil)
    coco.change("val", lambda document: document["annotations"][0].update(bbox=[1]))
    with pytest.raises(DatasetError) as caught:
        check(coco)
    text = str(caught.value)
    assert "0 of 4 images and 9 of 9 objects of train" in text
    assert "0 of 2 images and 1 of 5 objects of val" in text
    assert "train: objects of a category that is not listed (9): " in text
    assert text.count("category 55") == 5


def test_boxes_are_enough_where_masks_are_not_asked_for(coco: CocoFolder, check: Check) -> None:
    coco.change_object(segmentation=None, area=None)
    found = check(coco, masks=False)
    assert found.train.objects == 9
    assert json.loads(found.train.annotations.read_text())["annotations"][0]["area"] == 120
    with pytest.raises(DatasetError, match="objects without a mask"):
        check(coco)


def test_a_second_look_recalls_the_first(
    coco: CocoFolder, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    coco.change_object(bbox=None)
    first = check(coco, skip_bad=True)
    monkeypatch.setattr(scenes, "read_scenes", None)
    said: list[str] = []
    assert check(coco, skip_bad=True, said=said) == first
    assert said == []
    with pytest.raises(DatasetError, match="1 of 9 objects of train"):
        check(coco)


def test_a_changed_image_or_annotation_file_is_read_again(coco: CocoFolder, check: Check) -> None:
    first = check(coco)
    missing(coco)
    assert check(coco, skip_bad=True).fingerprint != first.fingerprint


def test_a_spoiled_verdict_is_made_anew(coco: CocoFolder, check: Check, tmp_path: Path) -> None:
    coco.change_object(area=None)
    first = check(coco)
    (folder,) = (tmp_path / "cache" / "scenes").iterdir()
    (folder / "verdict.json").write_text('{"something": "else"}')
    assert check(coco) == first
    assert first.train.annotations.is_file()


def test_several_may_check_at_once(coco: CocoFolder, check: Check, tmp_path: Path) -> None:
    coco.change_object(area=None)
    found: list[Checked] = []
    threads = [threading.Thread(target=lambda: found.append(check(coco))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert found[0] == found[1] == found[2]
    assert len(list((tmp_path / "cache" / "scenes").iterdir())) == 1


def test_a_fingerprint_is_of_contents_whatever_ids_and_order(
    coco: CocoFolder, check: Check, tmp_path: Path
) -> None:
    other = CocoFolder(tmp_path / "other")
    shutil.copytree(coco.root, other.root)

    def renumber(document: Document) -> None:
        for one in document["images"]:
            one["id"] += 7
        for number, one in enumerate(document["annotations"]):
            one.update(id=500 + number, image_id=one["image_id"] + 7)
        document["images"].reverse()
        document["annotations"].reverse()

    other.change("train", renumber)
    assert check(other).fingerprint == check(coco).fingerprint


@pytest.mark.parametrize(
    "fields",
    [{"area": 119}, {"category_id": 7}, {"bbox": [4, 5, 12, 11]}, {"iscrowd": 1}],
)
def test_a_changed_object_changes_the_fingerprint(
    coco: CocoFolder, check: Check, fields: dict[str, Any]
) -> None:
    first = check(coco).fingerprint
    coco.change_object(**fields)
    assert check(coco).fingerprint != first


def test_leaving_out_is_the_same_as_having_removed(coco: CocoFolder, check: Check) -> None:
    coco.change_object(bbox=None)
    skipped = check(coco, skip_bad=True)
    coco.change("train", lambda document: document["annotations"].pop(0))
    removed = check(coco)
    assert skipped.fingerprint == removed.fingerprint


def test_progress_says_how_much_is_left() -> None:
    said: list[str] = []
    times = iter([100.0, 110.0, 400.0])
    progress = Progress(1000, "images of train", status=said.append, clock=lambda: next(times))
    for done in (0, 100, 500):
        progress.tell(done)
    assert said == [
        "checking 1,000 images of train",
        "checking 1,000 images of train: 10%, 90 s left",
        "checking 1,000 images of train: 50%, 5 min left",
    ]


@pytest.mark.data
def test_real_photographs_are_found_sound(real_images: Path, check: Check) -> None:
    found = check(CocoFolder(real_images / "coco-tiny"))
    assert len(found.categories) == 80
    assert found.train.count > 0
    assert found.val.count > 0
    assert found.report.skipping() == ()
