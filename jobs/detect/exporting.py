"""The detector of a checkpoint as a file."""

from __future__ import annotations

from pathlib import Path

from detection import weights
from jobs import initial as initials
from jobs.detect import DetectSpec
from jobs.detect.network import make_network
from jobs.training.state import Progress, read_scored


def export(
    spec: DetectSpec, checkpoint: Path, file: Path, *, classes: int, built_for: int | None
) -> Progress:
    """Write the detector that a checkpoint's scores are about as safetensors.

    Args:
        spec: Of the run.
        checkpoint: Its folder, verified.
        file: Written aside and renamed.
        classes: Categories.
        built_for: Side of the images for which the run's backbone was built, px; None: the usual.

    Returns:
        How far the run was.

    Raises:
        JobError: The detector cannot be made, or the checkpoint does not fit.
    """
    # its weights are the checkpoint's, so the initial ones need not be here
    fresh = spec.derive(initial=initials.SCRATCH)
    detector = make_network(fresh, classes=classes, device="cpu", side=built_for)
    progress = read_scored(detector, checkpoint, ema=False)
    weights.save(
        detector,
        file,
        metadata={
            "detector": spec.detector,
            "backbone": spec.backbone,
            "classes": str(classes),
            "recipe": spec.recipe.model_dump_json(),
        },
    )
    return progress
