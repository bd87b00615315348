"""The attention of a checkpoint: of the weights that were scored, over images that were named."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from backbones.attention_map import attention_maps
from backbones.build import build
from jobs.classify import ClassifySpec
from jobs.classify.attention import look, scored_pictures
from jobs.classify.run import run
from jobs.data import augmentation
from jobs.data.picture import Picture, read_pictures
from jobs.errors import DatasetError, JobError
from jobs.training.state import FILE
from tests.jobs.context import FolderContext

BACKBONE = "resnet20_cifar/kernel_warehouse"
EMA_DECAY = 0.5


@dataclass(frozen=True)
class Trained:
    """A finished training run."""

    spec: ClassifySpec
    checkpoint: Path
    cache: Path


@pytest.fixture
def spec(make_spec: Callable[..., ClassifySpec]) -> ClassifySpec:
    """Two epochs of seven steps on a few digits, with averaged weights."""
    return make_spec({"backbone": BACKBONE}, ema=EMA_DECAY)


@pytest.fixture
def trained(spec: ClassifySpec, tmp_path: Path) -> Trained:
    """It, trained."""
    context = FolderContext(tmp_path / "run")
    run(spec, context)
    checkpoint = context.resume()
    assert checkpoint is not None
    return Trained(spec, checkpoint, context.cache)


def pictures_of(spec: ClassifySpec, count: int) -> list[Picture]:
    return scored_pictures(spec, cache=Path("unused"), count=count)


def test_the_scored_weights_are_shown_the_images_of_the_recipe(trained: Trained) -> None:
    spec = trained.spec
    pictures = pictures_of(spec, 3)
    seen = look(spec, trained.checkpoint, pictures, cache=trained.cache)
    assert (seen.epoch, seen.steps, seen.ema) == (2, 14, True)

    state = torch.load(trained.checkpoint / FILE, weights_only=True)
    transform = augmentation.evaluation(spec.recipe)
    files = [Image.open(io.BytesIO(picture.content)).convert("RGB") for picture in pictures]
    images = torch.stack([transform(file) for file in files])
    by_weights = []
    for key in ("ema", "network"):
        network = build(BACKBONE, classes=10, image_size=16)
        network.load_state_dict(state[key])
        by_weights.append(attention_maps(BACKBONE, network, images, classes=10))
    averaged, raw = by_weights
    assert [one.title for one in seen.maps] == [one.title for one in averaged]
    for found, wanted in zip(seen.maps, averaged, strict=True):
        assert np.array_equal(found.values, wanted.values)
    assert not np.allclose(seen.maps[1].values, raw[1].values)


def test_the_temperature_of_the_checkpoint_is_taken_when_asked(trained: Trained) -> None:
    pictures = pictures_of(trained.spec, 1)
    notes = []
    for total_steps in (None, 14):
        seen = look(
            trained.spec,
            trained.checkpoint,
            pictures,
            cache=trained.cache,
            total_steps=total_steps,
        )
        notes.append(seen.maps[1].note)
    # linear over 20 epochs of 7 steps, after the 14th step
    assert notes == ["temperature 0", "temperature 0.9"]


def test_the_data_need_not_be_here_where_the_classes_are_known(trained: Trained) -> None:
    pictures = pictures_of(trained.spec, 1)
    elsewhere = trained.spec.derive(data=str(trained.cache / "gone"), initial="gone.pt")
    look(elsewhere, trained.checkpoint, pictures, cache=trained.cache, classes=10)
    with pytest.raises(DatasetError, match="no data folder"):
        look(elsewhere, trained.checkpoint, pictures, cache=trained.cache)


def test_a_checkpoint_of_another_network_is_refused(trained: Trained) -> None:
    other = trained.spec.derive(backbone=f"{BACKBONE}(budget=2)")
    with pytest.raises(JobError, match="cannot be read into this network"):
        look(other, trained.checkpoint, pictures_of(other, 1), cache=trained.cache)


def test_a_missing_checkpoint_is_named(spec: ClassifySpec, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="nowhere"):
        look(spec, tmp_path / "nowhere", pictures_of(spec, 1), cache=tmp_path)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\nbroken"])
def test_a_file_that_is_no_image_is_named(
    spec: ClassifySpec, tmp_path: Path, content: bytes
) -> None:
    with pytest.raises(DatasetError, match=r"cat\.png cannot be read as an image"):
        look(spec, tmp_path, [Picture("cat.png", content)], cache=tmp_path)


def test_no_image_is_refused(spec: ClassifySpec, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no image was given"):
        look(spec, tmp_path, [], cache=tmp_path)


def test_files_are_read_or_named(few_digits: Path, tmp_path: Path) -> None:
    file = next((few_digits / "val" / "3").iterdir())
    (picture,) = read_pictures([file])
    assert (picture.name, picture.content) == (str(file), file.read_bytes())
    with pytest.raises(DatasetError, match=r"gone\.png cannot be opened"):
        read_pictures([tmp_path / "gone.png"])


def test_images_come_from_all_classes_in_turn(spec: ClassifySpec, few_digits: Path) -> None:
    found = pictures_of(spec, 13)
    classes = [picture.name.split("/")[1] for picture in found]
    assert classes == [*map(str, range(10)), "0", "1", "2"]
    assert len({picture.name for picture in found}) == 13
    assert found[0].content == (few_digits / found[0].name).read_bytes()
    assert len(pictures_of(spec, 1000)) == 40


def test_images_come_from_one_class_when_asked(spec: ClassifySpec) -> None:
    found = scored_pictures(spec, cache=Path("unused"), count=3, class_name="7")
    assert [picture.name.split("/")[:2] for picture in found] == [["val", "7"]] * 3
    with pytest.raises(DatasetError, match="no class 'seven'"):
        scored_pictures(spec, cache=Path("unused"), count=3, class_name="seven")


def test_images_that_a_run_skips_are_passed_over(spec: ClassifySpec, few_digits: Path) -> None:
    first, second, *_ = pictures_of(spec, 3)
    (few_digits / first.name).write_bytes(b"broken")
    assert pictures_of(spec, 1) == [second]


def test_a_run_on_a_hold_out_is_shown_what_it_is_scored_on(spec: ClassifySpec) -> None:
    held_out = pictures_of(spec.derive(holdout_pct=25.0), 1000)
    assert len(held_out) == 30
    assert all(picture.name.startswith("train/") for picture in held_out)
