from __future__ import annotations

import io
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image

from jobs.classify import ClassifySpec
from jobs.classify.attention import scored_pictures
from jobs.classify.run import check, run
from jobs.data import source, verdict
from jobs.data.imagefolder import Listing
from jobs.data.verdict import Verdict, drop_bad
from jobs.errors import DatasetError
from tests.jobs.cifar_files import (
    BATCHES,
    NAMES_10,
    noise,
    small_cifar10,
    write_cifar10,
    write_cifar100,
)
from tests.jobs.conftest import TINY
from tests.jobs.context import FolderContext

HUNDRED = tuple(f"thing_{number:02d}" for number in range(100))


@pytest.fixture
def cifar10(tmp_path: Path) -> Path:
    return small_cifar10(tmp_path / "cifar-10-batches-bin")


def inspect(folder: Path, cache: Path) -> Verdict:
    found = source.read_listing(folder)
    return verdict.inspect(found, cache=cache, threads=2, status=lambda text: None)


def decoded(listing: Listing, path: str) -> torch.Tensor:
    with Image.open(io.BytesIO(listing.contents.read(path))) as image:
        assert (image.mode, image.size) == ("RGB", (32, 32))
        return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(32, 32, 3)


def as_folder(listing: Listing, target: Path) -> Path:
    for sample in (*listing.train, *listing.val):
        file = target / sample.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(listing.contents.read(sample.path))
    return target


# --- what is in the files --------------------------------------------------------------------


def test_the_files_are_listed_class_by_class(cifar10: Path) -> None:
    listing = source.read_listing(cifar10)
    assert listing.classes == source.class_names(cifar10) == NAMES_10
    assert (len(listing.train), len(listing.val)) == (30, 10)
    assert [sample.label for sample in listing.train] == sorted(s.label for s in listing.train)
    assert listing.train[0].id == "train/airplane/data_batch_1-00000"
    assert listing.val[3].id == "val/cat/test_batch-00003"


def test_pixels_are_three_planes_of_rows(tmp_path: Path) -> None:
    red = bytes(range(256)) * 4
    pixels = red + bytes([7]) * 1024 + bytes(reversed(red))
    train = [(label, pixels) for label in range(10)]
    folder = write_cifar10(tmp_path / "c", train=train, test=train)
    image = decoded(source.read_listing(folder), "train/bird/data_batch_3-00000.ppm")
    planes = torch.frombuffer(bytearray(pixels), dtype=torch.uint8).view(3, 32, 32)
    assert torch.equal(image.permute(2, 0, 1), planes)
    assert image[1, 2].tolist() == [34, 7, 255 - 34]


def test_of_two_labels_the_fine_one_counts(tmp_path: Path) -> None:
    records = [noise(label, seed=label) for label in reversed(range(100))]
    folder = write_cifar100(tmp_path / "c", train=records, test=records, names=HUNDRED)
    listing = source.read_listing(folder)
    assert listing.classes == HUNDRED
    assert [sample.path for sample in listing.train[:2]] == [
        "train/thing_00/train-00099.ppm",
        "train/thing_01/train-00098.ppm",
    ]
    planes = decoded(listing, listing.train[1].path).permute(2, 0, 1)
    assert bytes(planes.flatten().tolist()) == records[98][1]


def test_classes_are_sorted_by_name_whatever_their_labels(tmp_path: Path) -> None:
    names = tuple(reversed(NAMES_10))
    records = [noise(label, seed=label) for label in range(10)]
    listing = source.read_listing(
        write_cifar10(tmp_path / "c", train=records, test=records, names=names)
    )
    assert listing.classes == NAMES_10
    assert listing.train[0].path == "train/airplane/data_batch_5-00001.ppm", "which has label 9"


# --- the same data in another form -----------------------------------------------------------


def test_a_folder_of_the_same_images_is_the_same_data_set(cifar10: Path, tmp_path: Path) -> None:
    binary = source.read_listing(cifar10)
    folder = as_folder(binary, tmp_path / "folder")
    listing = source.read_listing(folder)
    assert (listing.classes, listing.train, listing.val) == (
        binary.classes,
        binary.train,
        binary.val,
    )
    ours, theirs = inspect(cifar10, tmp_path / "a"), inspect(folder, tmp_path / "b")
    assert ours == theirs
    assert (ours.images, ours.bad) == (40, {})
    assert ours.decoded_mib == pytest.approx(40 * 3072 / 2**20, abs=0.001)


def test_a_copy_elsewhere_has_the_same_fingerprint(cifar10: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(cifar10, copy)
    first, second = (inspect(folder, tmp_path / "v") for folder in (cifar10, copy))
    assert first == second


@pytest.mark.parametrize("byte", [0, 1, 3072], ids=["label", "first pixel", "last pixel"])
def test_a_changed_byte_changes_the_fingerprint(cifar10: Path, tmp_path: Path, byte: int) -> None:
    first = inspect(cifar10, tmp_path / "v")
    file = cifar10 / "data_batch_2.bin"
    content = bytearray(file.read_bytes())
    content[byte] = (content[byte] + 1) % 10
    file.write_bytes(content)
    assert inspect(cifar10, tmp_path / "v").fingerprint != first.fingerprint


# --- what is not sound -----------------------------------------------------------------------


def spoil_labels(folder: Path, count: int) -> list[str]:
    """Give the first images of the first batch a label that no class has."""
    file = folder / "data_batch_1.bin"
    content = bytearray(file.read_bytes())
    for index in range(count):
        content[index * 3073] = 17
    file.write_bytes(content)
    return [f"train/unlabelled/data_batch_1-{index:05d}.ppm" for index in range(count)]


def test_an_image_with_a_label_of_no_class_is_skipped_and_named(
    cifar10: Path, tmp_path: Path
) -> None:
    (path,) = spoil_labels(cifar10, 1)
    listing, found = source.read_listing(cifar10), inspect(cifar10, tmp_path / "v")
    assert found.bad == {path: "its label is 17, and there are 10 classes from 0"}
    kept = drop_bad(listing, found, max_bad_pct=5)
    assert (len(kept.train), len(kept.val)) == (29, 10)
    assert min(sample.label for sample in kept.train) == 0


def test_too_many_of_them_are_refused_with_examples(cifar10: Path, tmp_path: Path) -> None:
    paths = spoil_labels(cifar10, 2)
    listing, found = source.read_listing(cifar10), inspect(cifar10, tmp_path)
    with pytest.raises(DatasetError, match=r"2 of 30 images of train .*max_bad_pct 1 ") as caught:
        drop_bad(listing, found, max_bad_pct=1)
    assert all(f"{path}: its label is 17" in str(caught.value) for path in paths)


@pytest.mark.parametrize("cut", [1, 3072, 3074])
def test_a_file_that_is_cut_off_is_refused(cifar10: Path, cut: int) -> None:
    file = cifar10 / "data_batch_4.bin"
    file.write_bytes(file.read_bytes()[:-cut])
    with pytest.raises(
        DatasetError, match=r"data_batch_4.bin has [\d,]+ bytes, which are no whole images of 3,073"
    ):
        source.precheck(str(cifar10))


def test_an_empty_file_is_refused(cifar10: Path) -> None:
    (cifar10 / "test_batch.bin").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"test_batch\.bin has 0 bytes"):
        source.precheck(str(cifar10))


def test_files_of_the_other_version_are_refused(cifar10: Path, tmp_path: Path) -> None:
    folder = tmp_path / "swapped"
    folder.mkdir()
    shutil.copy(cifar10 / "test_batch.bin", folder / "train.bin")
    shutil.copy(cifar10 / "test_batch.bin", folder / "test.bin")
    (folder / "fine_label_names.txt").write_text("\n".join(HUNDRED))
    with pytest.raises(DatasetError, match=r"whole images of 3,074 bytes.*no file of CIFAR-100"):
        source.precheck(str(folder))


@pytest.mark.parametrize("name", ["data_batch_5.bin", "test_batch.bin", "batches.meta.txt"])
def test_a_missing_file_is_named(cifar10: Path, name: str) -> None:
    (cifar10 / name).unlink()
    with pytest.raises(
        DatasetError, match=f"files of CIFAR-10, but no {name}; unpack cifar-10-bin"
    ):
        source.precheck(str(cifar10))


@pytest.mark.parametrize("text", ["", "cat\ndog\ncat\n"])
def test_names_that_are_none_or_stand_twice_are_refused(cifar10: Path, text: str) -> None:
    (cifar10 / "batches.meta.txt").write_text(text)
    with pytest.raises(DatasetError, match="should name each class once, a line each; found"):
        source.precheck(str(cifar10))


def test_a_class_without_an_image_is_named(tmp_path: Path) -> None:
    train = [noise(label, seed=label) for label in range(10)]
    folder = write_cifar10(tmp_path / "c", train=train, test=train[:9])
    with pytest.raises(DatasetError, match=r"no image of class 'truck' in test_batch\.bin"):
        source.read_listing(folder)


@pytest.mark.parametrize(
    ("title", "files"),
    [
        ("CIFAR-10", (*BATCHES, "test_batch", "batches.meta")),
        ("CIFAR-100", ("train", "test", "meta", "file.txt~")),
    ],
)
def test_pickles_are_refused_unread(tmp_path: Path, title: str, files: tuple[str, ...]) -> None:
    ran = tmp_path / "ran"
    code = pickle.dumps(Trap(ran))
    pickle.loads(code)
    ran.unlink()  # so the trap works
    folder = tmp_path / "python"
    folder.mkdir()
    for name in files:
        (folder / name).write_bytes(code)
    with pytest.raises(
        DatasetError, match=rf"the Python version of {title}, .*pickles.*unpack the binary version"
    ):
        source.precheck(str(folder))
    assert not ran.exists()


@dataclass
class Trap:
    """Writes a file when it is unpickled."""

    file: Path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (self.file,)


# --- in a run --------------------------------------------------------------------------------


def spec_of(folder: Path) -> ClassifySpec:
    recipe = {"base": "digits_quick", "epochs": 1, "warmup_epochs": 0, "image_size": 16}
    batch = {"batch_size": 10, "micro_batch": 10}
    return ClassifySpec.model_validate(
        {"backbone": TINY, "data": str(folder), "recipe": {**recipe, **batch}}
    )


def test_a_run_trains_on_the_files_as_on_a_folder_of_the_same_images(
    cifar10: Path, tmp_path: Path
) -> None:
    folder = as_folder(source.read_listing(cifar10), tmp_path / "folder")
    results = []
    for data in (cifar10, folder):
        context = FolderContext(tmp_path / f"run-{data.name}")
        check(spec_of(data), context)
        results.append(run(spec_of(data), context))
    scores = [{k: v for k, v in one.scores.items() if "seconds" not in k} for one in results]
    assert scores[0] == scores[1]
    assert {"top1_pct", "loss"} & scores[0].keys()
    assert results[0].facts["classes"] == 10
    assert [one.facts["dataset"] for one in results] == ["cifar10", "folder"]
    assert results[0].facts["dataset_fingerprint"] == results[1].facts["dataset_fingerprint"]


def test_a_skipped_image_is_counted_in_the_result(cifar10: Path, tmp_path: Path) -> None:
    spoil_labels(cifar10, 1)
    spec = spec_of(cifar10).derive(max_bad_pct=10)
    assert run(spec, FolderContext(tmp_path)).facts["skipped_images"] == 1


def test_pictures_to_look_at_come_from_the_files(cifar10: Path, tmp_path: Path) -> None:
    found = scored_pictures(spec_of(cifar10), cache=tmp_path, count=2)
    assert [picture.name for picture in found] == [
        "val/airplane/test_batch-00000.ppm",
        "val/automobile/test_batch-00001.ppm",
    ]
    assert found[0].decode().size == (32, 32)


@pytest.mark.data
def test_photographs_in_the_files_are_those_of_their_folder(
    real_images: Path, tmp_path: Path
) -> None:
    photographs = source.read_listing(real_images / "cifar10-imagefolder")
    records = {
        split: [
            (sample.label, bytes(planes(photographs.root / sample.path)))
            for sample in photographs.split(split)
        ]
        for split in ("train", "val")
    }
    folder = write_cifar10(
        tmp_path / "c", train=records["train"], test=records["val"], names=photographs.classes
    )
    listing = source.read_listing(folder)
    assert listing.classes == photographs.classes
    assert [s.label for s in listing.val] == [s.label for s in photographs.val]
    for sample, other in zip(listing.val, photographs.val, strict=True):
        ours = decoded(listing, sample.path).permute(2, 0, 1).flatten().tolist()
        assert bytes(ours) == bytes(planes(photographs.root / other.path))
    assert inspect(folder, tmp_path / "v").bad == {}


def planes(file: Path) -> list[int]:
    with Image.open(file) as image:
        content = image.convert("RGB").tobytes()
    return [value for colour in range(3) for value in content[colour::3]]
