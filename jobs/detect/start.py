"""What a detector starts from: weights of its backbone, or of all of it, from a run or a file."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from backbones import weights
from backbones.build import build
from backbones.errors import WeightsError
from detection import weights as detectors
from jobs import initial as initials
from jobs.detect import DetectSpec
from jobs.errors import SpecError
from jobs.job import Parent
from jobs.training.state import scored_weights

logger = logging.getLogger(__name__)

_CLASSES = 1000
"""Width of the classifier that is cut away."""
_IMAGE_SIZE = 224
"""Side of the images for which a backbone is built when nobody trained it before."""

Weights = str | dict[str, Tensor]
"""A file of a classification network, or its tensors by name."""


@dataclass(frozen=True)
class Start:
    """Weights that a detector is filled with; neither: what it is made with.

    Attributes:
        backbone: Of the classification network inside.
        whole: Of all of it, by name.
    """

    backbone: Weights | None = None
    whole: dict[str, Tensor] | None = None


def start_of(spec: DetectSpec, parent: Parent | None) -> Start:
    """Find what a detector starts from.

    Args:
        spec: Says what.
        parent: The run that `spec.initial` names.

    Raises:
        SpecError: A file cannot be read.
    """
    if parent is not None:
        if parent.kind == "detect":
            return Start(whole=scored_weights(parent.folder))
        return Start(backbone=scored_weights(parent.folder, ema=bool(parent.facts.get("ema"))))
    if not initials.is_file(spec.initial):
        return Start()
    with explained():
        whole = detectors.read(Path(spec.initial))
    return Start(backbone=spec.initial) if whole is None else Start(whole=whole)


def load_backbone(network: nn.Module, *, source: Weights, backbone: str) -> None:
    """Fill the classification network of `built_for` images and a thousand classes."""
    fit = weights.load(network, source, backbone=backbone, own_classes=_CLASSES)
    logger.info("initial weights of the backbone", extra={"found": str(fit)})


def check_backbone(spec: DetectSpec, source: Weights, *, parent: Parent | None) -> None:
    """See that weights fit the backbone, without making it.

    Raises:
        SpecError: They cannot be read or do not fit.
    """
    side = built_for(parent)
    network = build(spec.backbone, classes=_CLASSES, image_size=side, device="meta")
    with explained():
        weights.recognise(network, source, backbone=spec.backbone, own_classes=_CLASSES)


def built_for(parent: Parent | None) -> int:
    """Return the side of the images for which a backbone is built: those it was trained on."""
    facts = parent.facts if parent is not None else {}
    side = facts.get("built_for", facts.get("image_size"))
    return side if isinstance(side, int) else _IMAGE_SIZE


@contextmanager
def explained() -> Iterator[None]:
    """Say of weights that do not fit which field of the spec is wrong."""
    try:
        yield
    except WeightsError as error:
        raise SpecError(f"initial: {error}") from error
