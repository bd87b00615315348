from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from jobs.data.imagefolder import class_names, read_listing
from jobs.errors import DatasetError


def test_a_listing_has_every_image_with_its_class(few_digits: Path) -> None:
    listing = read_listing(few_digits)
    assert listing.classes == tuple("0123456789")
    assert (len(listing.train), len(listing.val)) == (120, 40)
    assert all(sample.path.split("/")[1] == str(sample.label) for sample in listing.train)
    assert listing.train[0].id == listing.train[0].path.removesuffix(".png")


def test_hidden_and_other_files_are_passed_over_and_nested_images_are_not(
    few_digits: Path,
) -> None:
    image = next((few_digits / "train" / "3").iterdir())
    (few_digits / "train" / "3" / "deeper").mkdir()
    shutil.copy(image, few_digits / "train" / "3" / "deeper" / "UPPER.JPEG")
    shutil.copy(image, few_digits / "train" / "3" / "._hidden.png")
    (few_digits / "train" / "3" / "notes.txt").write_text("no image")
    (few_digits / "train" / ".cache").mkdir()
    paths = [sample.path for sample in read_listing(few_digits).train if sample.label == 3]
    assert len(paths) == 13
    assert "train/3/deeper/UPPER.JPEG" in paths


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nothing is there"):
        class_names(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="a file is there"):
        class_names(tmp_path / "file")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no folder train and no folder val.*it is empty"):
        class_names(tmp_path)


def test_a_folder_without_val_is_refused_and_says_what_is_there(few_digits: Path) -> None:
    (few_digits / "val").rename(few_digits / "test")
    with pytest.raises(DatasetError, match=r"no folder val; .*found test, train"):
        class_names(few_digits)


def test_images_outside_class_folders_are_refused(few_digits: Path) -> None:
    image = next((few_digits / "val" / "0").iterdir())
    kept = few_digits / image.name
    shutil.copy(image, kept)
    shutil.rmtree(few_digits / "val")
    (few_digits / "val").mkdir()
    shutil.copy(kept, few_digits / "val" / image.name)
    with pytest.raises(DatasetError, match="val has no class folders: 1 images lie in it directly"):
        class_names(few_digits)


def test_classes_that_differ_are_named(few_digits: Path) -> None:
    shutil.rmtree(few_digits / "val" / "7")
    (few_digits / "val" / "seven").mkdir()
    with pytest.raises(DatasetError, match=r"only in train: 7; only in val: seven"):
        class_names(few_digits)


def test_a_class_without_images_is_named(few_digits: Path) -> None:
    shutil.rmtree(few_digits / "train" / "4")
    (few_digits / "train" / "4").mkdir()
    with pytest.raises(DatasetError, match="no image in train/4"):
        class_names(few_digits)
