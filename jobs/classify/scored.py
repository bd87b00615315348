"""The network of a checkpoint as its scores are about it: weights, average and schedules."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from backbones import weights
from backbones.build import anneal
from jobs import initial as initials
from jobs.classify import ClassifySpec
from jobs.classify.network import make_network
from jobs.training.state import Progress, read_scored


def scored_network(
    spec: ClassifySpec, checkpoint: Path, *, classes: int, total_steps: int | None
) -> tuple[nn.Module, Progress]:
    """Build the network of a run on the CPU, with the weights that a checkpoint scored.

    Args:
        spec: Of the run.
        checkpoint: Its folder, verified.
        classes: Width of the classifier.
        total_steps: Optimiser steps of the whole run, for schedules (temperatures) as they stood at
            the checkpoint; None: as they end.

    Returns:
        The network, and how far the run was.

    Raises:
        SpecError: The network cannot be built.
        JobError: The checkpoint does not fit.
    """
    # its weights are the checkpoint's, so the initial ones need not be here
    network = make_network(spec.derive(initial=initials.SCRATCH), classes=classes, device="cpu")
    progress = read_scored(network, checkpoint, ema=spec.recipe.ema is not None)
    if total_steps is not None:
        micro_batches = spec.recipe.micro_batches
        anneal(
            network,
            # the last micro-batch before the checkpoint
            step=max(progress.steps * micro_batches - 1, 0),
            steps_per_epoch=total_steps // spec.recipe.epochs * micro_batches,
        )
    return network, progress


def export(
    spec: ClassifySpec, checkpoint: Path, file: Path, *, classes: int, total_steps: int
) -> Progress:
    """Write the network that a checkpoint's scores are about as safetensors.

    Args:
        spec: Of the run.
        checkpoint: Its folder, verified.
        file: Written aside and renamed.
        classes: Width of the classifier.
        total_steps: Optimiser steps of the whole run.

    Returns:
        How far the run was.

    Raises:
        JobError: As `scored_network`.
    """
    network, progress = scored_network(spec, checkpoint, classes=classes, total_steps=total_steps)
    weights.save(
        network,
        file,
        backbone=spec.backbone,
        classes=classes,
        image_size=spec.recipe.image_size,
    )
    return progress
