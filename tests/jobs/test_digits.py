from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from jobs.data import digits
from jobs.data.imagefolder import read_listing


def test_all_digits_are_written_and_a_fifth_of_each_is_held_out(digit_folder: Path) -> None:
    listing = read_listing(digit_folder)
    labels = load_digits().target
    assert len(listing.train) + len(listing.val) == len(labels) == 1797
    for label in range(10):
        held_out = sum(sample.label == label for sample in listing.val)
        assert held_out == round(int((labels == label).sum()) / 5)


def test_no_image_is_on_both_sides(digit_folder: Path) -> None:
    listing = read_listing(digit_folder)
    names = [Path(sample.path).name for sample in (*listing.train, *listing.val)]
    assert len(set(names)) == len(names)


def test_each_scanned_pixel_is_a_square_of_its_grey(digit_folder: Path) -> None:
    source = load_digits()
    sample = read_listing(digit_folder).train[5]
    index = int(Path(sample.path).stem)
    assert source.target[index] == sample.label
    with Image.open(digit_folder / sample.path) as image:
        pixels = np.asarray(image)
    assert pixels.shape == (32, 32)
    assert (pixels == np.kron(pixels[::4, ::4], np.ones((4, 4)))).all()
    np.testing.assert_allclose(pixels[::4, ::4] / 255, source.images[index] / 16, atol=0.002)


def test_the_split_is_the_same_each_time_it_is_written(digit_folder: Path, tmp_path: Path) -> None:
    again = digits.write(tmp_path)
    assert read_listing(again).val == read_listing(digit_folder).val


def test_several_may_write_it_at_once(tmp_path: Path) -> None:
    threads = [threading.Thread(target=digits.write, args=(tmp_path,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.name for entry in tmp_path.iterdir()] == ["digits"]
    assert len(read_listing(tmp_path / "digits").train) == 1438
