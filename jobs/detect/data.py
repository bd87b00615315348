"""The scenes of a training run: checked, described to mmdet's data sets, and loaded."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from detection.dataset import CocoImages, collate, dataset
from detection.errors import DetectionError
from detection.pipelines import Cropping, Resizing, evaluation_pipeline, train_pipeline
from jobs.data import source
from jobs.data.coco.scenes import Checked, SplitFiles, check_scenes
from jobs.data.draws import generators_kept, seed_for, start
from jobs.data.loading import InTurn, Key, MicroBatches
from jobs.detect import DetectSpec
from jobs.errors import DatasetError
from jobs.job import JobContext
from jobs.recipes import DetectionRecipe
from jobs.training.share import share_of

logger = logging.getLogger(__name__)

_FEW = 2000
"""Sets of up to so many images are loaded in the training process itself when nobody says."""

Batches = DataLoader[Any]
"""Yields what mmdet's detectors take: ``inputs`` and ``data_samples``, a list of each."""


@dataclass(frozen=True)
class Data:
    """What a run trains on and is scored on.

    Attributes:
        checked: What reading all of it told.
        names: Of the training images that have objects, for messages.
        order: Which of them come when; set before an epoch is loaded.
        train_batches: This worker's micro-batches, in that order.
        val_batches: This worker's share of the validation images.
        category_ids: The annotation files' number of each label.
        steps_per_epoch: Optimiser steps of an epoch.
    """

    checked: Checked
    names: Sequence[str]
    order: MicroBatches
    train_batches: Batches
    val_batches: Batches
    category_ids: tuple[int, ...]
    steps_per_epoch: int


class Scenes(Dataset[Mapping[str, Any]]):
    """Transformed scenes by (epoch, index).

    Args:
        scenes: The images and their objects.
        seed: From which, with epoch and index, the transforms' draws follow.
    """

    def __init__(self, scenes: CocoImages, *, seed: int) -> None:
        self._scenes = scenes
        self._seed = seed

    def __getitem__(self, key: Key) -> Mapping[str, Any]:
        """Return ``inputs`` and ``data_samples`` of a scene."""
        epoch, index = key
        with generators_kept():
            start(seed_for("augment", self._seed, epoch, index))
            scene: Mapping[str, Any] = self._scenes[index]
            return scene


def check_data(spec: DetectSpec, context: JobContext) -> Checked:
    """Read every image and annotation once, unless that was done before.

    Raises:
        DatasetError: The layout is wrong, or something is broken and `skip_bad` is not set.
    """
    checked = check_scenes(
        source.locate(spec.data, context.cache),
        skip_bad=spec.skip_bad,
        cache=context.cache,
        # twice as many readers as cores, since half of them wait for the disk
        threads=2 * context.threads,
        status=context.status,
        masks=_has_masks(spec),
    )
    if context.rank == 0:
        for line in checked.report.lines():
            logger.info("data: %s", line)
    return checked


def load_data(spec: DetectSpec, context: JobContext) -> Data:
    """Make everything ready to load batches.

    Raises:
        DatasetError: As `check_data`, or no training image can be learnt from.
        SpecError: The batch is larger than the training set, or cannot be shared by the workers.
    """
    checked = check_data(spec, context)
    masks = _has_masks(spec)
    flip = 0.5 if spec.recipe.flip else 0.0
    train, val = (
        _scenes_of(split, checked, pipeline=pipeline)
        for split, pipeline in (
            (checked.train, train_pipeline(_training_sizes(spec.recipe), masks=masks, flip=flip)),
            (checked.val, evaluation_pipeline(_test_sizes(spec.recipe), masks=masks)),
        )
    )
    share = share_of(spec.recipe, context, images=len(train))
    names, kinds = _described(train)
    order = MicroBatches(len(train), share=share, seed=spec.seed, kinds=kinds)
    # one by one, as mmdet's own configs have it: images padded to a common size score otherwise
    in_turn = InTurn(len(val), batch=1, rank=context.rank, world_size=context.world_size)
    load = partial(
        _make_loader, processes=_loader_processes(spec, context, len(train)), device=context.device
    )
    return Data(
        checked=checked,
        names=names,
        order=order,
        train_batches=load(Scenes(train, seed=spec.seed), order),
        val_batches=load(Scenes(val, seed=spec.seed), in_turn),
        category_ids=tuple(train.cat_ids),
        steps_per_epoch=share.steps(len(train)),
    )


def _scenes_of(
    split: SplitFiles, checked: Checked, *, pipeline: Sequence[Mapping[str, Any]]
) -> CocoImages:
    try:
        return dataset(
            split.annotations,
            split.images,
            classes=checked.categories,
            pipeline=pipeline,
            training=split is checked.train,
        )
    except DetectionError as error:
        raise DatasetError(str(error)) from error


def _has_masks(spec: DetectSpec) -> bool:
    return spec.detector == "mask_rcnn"


def _described(scenes: CocoImages) -> tuple[list[str], list[int]]:
    """Return the file name of each image, and 1 where it is wider than high, else 0.

    Images of one kind are padded little together. Descriptions are not kept: they hold all objects.
    """
    names, kinds = [], []
    for index in range(len(scenes)):
        about = scenes.get_data_info(index)
        names.append(Path(about["img_path"]).name)
        kinds.append(int(about["width"] > about["height"]))
    return names, kinds


def _training_sizes(recipe: DetectionRecipe) -> Resizing:
    return Resizing(
        short_sides=recipe.short_sides,
        long_side=recipe.long_side,
        crop=Cropping() if recipe.crop else None,
        any_side=recipe.any_side,
    )


def _test_sizes(recipe: DetectionRecipe) -> Resizing:
    return Resizing(short_sides=(recipe.test_side,), long_side=recipe.long_side)


def _loader_processes(spec: DetectSpec, context: JobContext, images: int) -> int:
    if spec.loader_workers is not None:
        return spec.loader_workers
    return 0 if images <= _FEW else context.threads


def _make_loader(
    scenes: Scenes, batches: Sampler[list[Key]], *, processes: int, device: str
) -> Batches:
    return DataLoader(
        scenes,
        batch_sampler=batches,
        num_workers=processes,
        persistent_workers=processes > 0,
        collate_fn=collate,
        pin_memory=torch.device(device).type == "cuda",
    )
