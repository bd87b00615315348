from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from jobs.data import verdict
from jobs.data.imagefolder import read_listing
from jobs.data.verdict import Verdict, drop_bad
from jobs.errors import DatasetError


def inspect(folder: Path, cache: Path, said: list[str] | None = None) -> Verdict:
    said = [] if said is None else said
    return verdict.inspect(read_listing(folder), cache=cache, threads=2, status=said.append)


def spoil(folder: Path, count: int) -> list[str]:
    """Break the first images of digit 0 in three ways in turn."""
    files = sorted((folder / "train" / "0").iterdir())[:count]
    for index, file in enumerate(files):
        whole = file.read_bytes()
        file.write_bytes([b"", b"no image at all", whole[: len(whole) // 2]][index % 3])
    return [file.relative_to(folder).as_posix() for file in files]


def test_sound_images_have_a_clean_verdict(few_digits: Path, tmp_path: Path) -> None:
    found = inspect(few_digits, tmp_path)
    assert (found.images, found.bad) == (160, {})
    assert found.decoded_mib == pytest.approx(160 * 32 * 32 * 3 / 2**20, abs=0.001)


def test_each_kind_of_broken_image_is_named_with_its_fault(
    few_digits: Path, tmp_path: Path
) -> None:
    paths = spoil(few_digits, 3)
    found = inspect(few_digits, tmp_path)
    assert list(found.bad) == paths
    assert list(found.bad.values())[:2] == ["the file is empty", "not an image"]
    assert "truncated" in found.bad[paths[2]]


def test_a_link_to_nowhere_is_an_unreadable_image(few_digits: Path, tmp_path: Path) -> None:
    (few_digits / "val" / "3" / "lost.png").symlink_to(tmp_path / "nowhere.png")
    found = inspect(few_digits, tmp_path)
    assert found.bad == {"val/3/lost.png": "cannot be opened (No such file or directory)"}


def test_few_broken_images_are_skipped(few_digits: Path, tmp_path: Path) -> None:
    (path,) = spoil(few_digits, 1)
    listing = read_listing(few_digits)
    kept = drop_bad(listing, inspect(few_digits, tmp_path), max_bad_pct=1)
    assert {s.path for s in listing.train} - {s.path for s in kept.train} == {path}
    assert kept.val == listing.val


def test_too_many_broken_images_are_refused_with_examples(few_digits: Path, tmp_path: Path) -> None:
    paths = spoil(few_digits, 3)
    found = inspect(few_digits, tmp_path)
    with pytest.raises(DatasetError, match=r"3 of 120 images of train .*max_bad_pct 1") as caught:
        drop_bad(read_listing(few_digits), found, max_bad_pct=1)
    assert all(path in str(caught.value) for path in paths)


def test_a_class_of_which_nothing_can_be_read_is_refused(few_digits: Path, tmp_path: Path) -> None:
    spoil(few_digits, 12)
    with pytest.raises(DatasetError, match="no image of class '0' in train can be read"):
        drop_bad(read_listing(few_digits), inspect(few_digits, tmp_path), max_bad_pct=100)


def test_a_second_look_recalls_the_verdict(few_digits: Path, tmp_path: Path) -> None:
    first = inspect(few_digits, tmp_path)
    said: list[str] = []
    assert inspect(few_digits, tmp_path, said) == first
    assert said == []


def test_a_changed_file_is_read_again_and_changes_the_fingerprint(
    few_digits: Path, tmp_path: Path
) -> None:
    first = inspect(few_digits, tmp_path)
    spoil(few_digits, 1)
    said: list[str] = []
    assert inspect(few_digits, tmp_path, said).fingerprint != first.fingerprint
    assert said


def test_a_copy_elsewhere_has_the_same_fingerprint(few_digits: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(few_digits, copy)
    first, second = (inspect(folder, tmp_path / folder.name) for folder in (few_digits, copy))
    assert first.fingerprint == second.fingerprint


def test_moving_an_image_to_another_class_changes_the_fingerprint(
    few_digits: Path, tmp_path: Path
) -> None:
    first = inspect(few_digits, tmp_path)
    image = next((few_digits / "train" / "1").iterdir())
    image.rename(few_digits / "train" / "2" / image.name)
    assert inspect(few_digits, tmp_path).fingerprint != first.fingerprint


def test_a_verdict_of_another_version_is_made_anew(few_digits: Path, tmp_path: Path) -> None:
    first = inspect(few_digits, tmp_path)
    (file,) = (tmp_path / "verdicts").iterdir()
    file.write_text('{"something": "else"}')
    assert inspect(few_digits, tmp_path) == first
