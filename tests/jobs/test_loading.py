from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from jobs import recipes
from jobs.data import augmentation
from jobs.data.contents import FolderContents
from jobs.data.division import divide
from jobs.data.draws import drawing, seed_for
from jobs.data.imagefolder import read_listing
from jobs.data.loading import (
    Images,
    InTurn,
    Key,
    MicroBatches,
    Share,
    epoch_order,
    make_loader,
)
from jobs.errors import DatasetError

STRONG = recipes.get("kw_adv300").derive(image_size=32, batch_size=16, micro_batch=8)


def micro_batches(*, rank: int, world_size: int, epoch: int = 1, step: int = 0) -> list[list[Key]]:
    share = Share(batch_size=24, micro_batch=4, rank=rank, world_size=world_size)
    batches = MicroBatches(100, share=share, seed=7)
    batches.start(epoch=epoch, step=step)
    assert len(batches) == len(list(batches))
    return list(batches)


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_only() -> None:
    order = epoch_order(50, seed=1, epoch=2)
    assert sorted(order) == list(range(50))
    assert order == epoch_order(50, seed=1, epoch=2)
    assert order != epoch_order(50, seed=1, epoch=3)
    assert order != epoch_order(50, seed=2, epoch=2)


@pytest.mark.parametrize("world_size", [2, 3, 6])
def test_any_number_of_workers_sees_the_same_micro_batches(world_size: int) -> None:
    alone = micro_batches(rank=0, world_size=1)
    shares = [micro_batches(rank=rank, world_size=world_size) for rank in range(world_size)]
    assert [batch for turn in zip(*shares, strict=True) for batch in turn] == alone


def test_an_epoch_can_be_started_at_any_step() -> None:
    whole = micro_batches(rank=1, world_size=2)
    assert micro_batches(rank=1, world_size=2, step=3) == whole[3 * 3 :]


def test_evaluation_sees_each_sample_exactly_once_over_all_workers() -> None:
    keys = [
        key
        for rank in range(3)
        for batch in InTurn(50, batch=4, rank=rank, world_size=3)
        for key in batch
    ]
    assert sorted(index for _, index in keys) == list(range(50))


def loaded(folder: Path, *, processes: int, keep: bool) -> dict[int, Tensor]:
    samples = read_listing(folder).train[:16]
    images = Images(
        FolderContents(folder), samples, transform=augmentation.training(STRONG), seed=3, keep=keep
    )
    batches = MicroBatches(16, share=Share(batch_size=16, micro_batch=8), seed=3)
    batches.start(epoch=4, step=0)
    loader = make_loader(images, batches, processes=processes, device="cpu")
    return {
        int(index): image
        for batch, _, indices in loader
        for index, image in zip(indices, batch, strict=True)
    }


def test_augmentation_does_not_depend_on_who_loads(few_digits: Path) -> None:
    here = loaded(few_digits, processes=0, keep=True)
    there = loaded(few_digits, processes=2, keep=False)
    assert here.keys() == there.keys()
    assert all(torch.equal(here[index], there[index]) for index in here)


def test_augmentation_differs_from_epoch_to_epoch(few_digits: Path) -> None:
    samples = read_listing(few_digits).train
    images = Images(
        FolderContents(few_digits), samples, transform=augmentation.training(STRONG), seed=3
    )
    assert not torch.equal(images[0, 5][0], images[1, 5][0])
    assert torch.equal(images[1, 5][0], images[1, 5][0])


@pytest.mark.parametrize("processes", [0, 1])
def test_an_image_that_vanished_is_named(few_digits: Path, processes: int) -> None:
    samples = read_listing(few_digits).val
    images = Images(FolderContents(few_digits), samples, transform=augmentation.evaluation(STRONG))
    (few_digits / samples[0].path).unlink()
    in_turn = InTurn(4, batch=4, rank=0, world_size=1)
    loader = make_loader(images, in_turn, processes=processes, device="cpu")
    with pytest.raises(DatasetError, match=r"image .*png was sound when the data were checked"):
        next(iter(loader))


def test_drawing_leaves_the_generators_as_they_were() -> None:
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with drawing(seed_for("a", 1)):
        torch.rand(7)
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("crop", ["rrc", "pad4", "none"])
def test_every_crop_gives_the_size_of_the_recipe(few_digits: Path, crop: str) -> None:
    recipe = recipes.get("digits_quick").derive(image_size=24, crop=crop, crop_pct=0.875)
    samples = read_listing(few_digits).train
    for transform in (augmentation.training(recipe), augmentation.evaluation(recipe)):
        image, _, _ = Images(FolderContents(few_digits), samples, transform=transform)[0, 0]
        assert image.shape == (3, 24, 24)
        assert image.dtype == torch.float32


def test_a_division_is_by_class_and_the_same_for_any_order(few_digits: Path) -> None:
    samples = read_listing(few_digits).train
    part, rest = divide(samples, pct=25, purpose="holdout")
    assert [sum(s.label == label for s in part) for label in range(10)] == [3] * 10
    assert set(part) | set(rest) == set(samples)
    assert not set(part) & set(rest)
    shuffled, _ = divide(samples[::-1], pct=25, purpose="holdout")
    assert set(shuffled) == set(part)
