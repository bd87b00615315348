"""What a training run's network weighs at a checkpoint, over given images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from backbones.attention_map import Map, attention_maps
from jobs.classify import ClassifySpec
from jobs.classify.data import cut
from jobs.classify.subject import prepare
from jobs.data import source
from jobs.data.imagefolder import Sample
from jobs.data.picture import Picture, listed, sound
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
    listing = source.read_listing(source.locate(spec.data, cache))
    _, scored = cut(spec, listing)
    if class_name:
        if class_name not in listing.classes:
            raise DatasetError(f"{spec.data} has no class {class_name!r}")
        label = listing.classes.index(class_name)
        scored = tuple(sample for sample in scored if sample.label == label)
    paths = (sample.path for sample in _in_turn(scored))
    return list(islice(sound(listed(listing.contents, paths)), count))


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
        classes: Width of the classifier, as for `prepare`.
        total_steps: Optimiser steps of the whole run, as for `prepare`.

    Raises:
        SpecError, DatasetError, JobError: As `prepare`.
    """
    subject = prepare(
        spec, checkpoint, pictures, cache=cache, classes=classes, total_steps=total_steps
    )
    maps = attention_maps(spec.backbone, subject.network, subject.images, classes=subject.classes)
    return Attention(tuple(maps), epoch=subject.epoch, steps=subject.steps, ema=subject.ema)


def _in_turn(samples: Sequence[Sample]) -> list[Sample]:
    """Return the first image of each class, then the second of each, and so on."""
    seen: Counter[int] = Counter()
    places = []
    for sample in samples:
        places.append((seen[sample.label], sample.label))
        seen[sample.label] += 1
    order = sorted(range(len(samples)), key=places.__getitem__)
    return [samples[index] for index in order]
