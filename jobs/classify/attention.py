"""What a training run's network weighs at a checkpoint, over given images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from backbones.attention_map import Map, attention_maps
from jobs.classify import ClassifySpec
from jobs.classify.data import cut
from jobs.classify.scored import scored_network
from jobs.data import augmentation, source
from jobs.data.imagefolder import Sample, class_names, read_listing
from jobs.data.picture import Picture, read_pictures, sound
from jobs.errors import DatasetError


@dataclass(frozen=True)
class Attention:
    """What was found.

    Attributes:
        maps: In the order of the methods and their plans.
        epoch: Epochs that the checkpoint's network was trained for.
        steps: Optimiser steps.
        ema: Whether it has averaged weights, as the run is scored.
    """

    maps: tuple[Map, ...]
    epoch: int
    steps: int
    ema: bool


def scored_pictures(
    spec: ClassifySpec, *, cache: Path, count: int, class_name: str = ""
) -> list[Picture]:
    """Return the first images of the split that the run is scored on, the classes in turn.

    Args:
        spec: Of the run.
        cache: Folder with the embedded data.
        count: How many; fewer when there are not so many that can be read.
        class_name: Only images of this class; empty: of all.

    Raises:
        DatasetError: The data are not here, or have no such class.
    """
    listing = read_listing(source.locate(spec.data, cache))
    _, scored = cut(spec, listing)
    if class_name:
        if class_name not in listing.classes:
            raise DatasetError(f"{spec.data} has no class {class_name!r}")
        label = listing.classes.index(class_name)
        scored = tuple(sample for sample in scored if sample.label == label)
    chosen = sound(
        Picture(sample.path, picture.content)
        for sample in _in_turn(scored)
        for picture in read_pictures([listing.root / sample.path])
    )
    return list(islice(chosen, count))


def look(
    spec: ClassifySpec,
    checkpoint: Path,
    pictures: Sequence[Picture],
    *,
    cache: Path,
    classes: int | None = None,
    total_steps: int | None = None,
) -> Attention:
    """Show images to the network of a checkpoint, as the run's evaluation does, on the CPU.

    Args:
        spec: Of the run.
        checkpoint: Its folder, verified.
        pictures: At least one.
        cache: Folder with the embedded data.
        classes: Width of the classifier; None: as many as the data have, which must be here then.
        total_steps: Optimiser steps of the whole run, for schedules (temperatures) as they stood at
            the checkpoint; None: as they end.

    Raises:
        SpecError: The network cannot be built.
        DatasetError: No image was given, one cannot be read, or the data are not here.
        JobError: The checkpoint does not fit.
    """
    if not pictures:
        raise DatasetError("no image was given; name at least one")
    transform = augmentation.evaluation(spec.recipe)
    images = torch.stack([transform(picture.decode()) for picture in pictures])
    if classes is None:
        classes = len(class_names(source.locate(spec.data, cache)))
    network, progress = scored_network(spec, checkpoint, classes=classes, total_steps=total_steps)
    maps = attention_maps(spec.backbone, network, images, classes=classes)
    return Attention(
        tuple(maps), epoch=progress.epoch, steps=progress.steps, ema=spec.recipe.ema is not None
    )


def _in_turn(samples: Sequence[Sample]) -> list[Sample]:
    """Return the first image of each class, then the second of each, and so on."""
    seen: Counter[int] = Counter()
    places = []
    for sample in samples:
        places.append((seen[sample.label], sample.label))
        seen[sample.label] += 1
    order = sorted(range(len(samples)), key=places.__getitem__)
    return [samples[index] for index in order]
