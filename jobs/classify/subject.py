"""A checkpoint's network and images as it takes them, ready for somebody to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from jobs.classify import ClassifySpec
from jobs.classify.scored import scored_network
from jobs.data import augmentation, source
from jobs.data.picture import Picture
from jobs.errors import DatasetError


@dataclass(frozen=True)
class Subject:
    """What is looked at.

    Attributes:
        network: As the checkpoint's scores are about it, on the CPU, in evaluation mode.
        images: (N, 3, S, S), prepared as for the run's evaluation.
        classes: Width of the classifier.
        epoch: Epochs that the network was trained for.
        steps: Optimiser steps.
        ema: Whether it has averaged weights, as the run is scored.
    """

    network: nn.Module
    images: Tensor
    classes: int
    epoch: int
    steps: int
    ema: bool


def prepare(
    spec: ClassifySpec,
    checkpoint: Path,
    pictures: Sequence[Picture],
    *,
    cache: Path,
    classes: int | None = None,
    total_steps: int | None = None,
) -> Subject:
    """Read the network of a checkpoint, and prepare images as the run's evaluation does.

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
        classes = len(source.class_names(source.locate(spec.data, cache)))
    network, progress = scored_network(spec, checkpoint, classes=classes, total_steps=total_steps)
    return Subject(
        network=network.eval(),
        images=images,
        classes=classes,
        epoch=progress.epoch,
        steps=progress.steps,
        ema=spec.recipe.ema is not None,
    )
