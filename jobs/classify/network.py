"""The network of a training run with its initial weights."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from timm.layers.drop import DropPath
from torch import Tensor, nn

from backbones import weights
from backbones.build import build
from backbones.errors import BackboneError, WeightsError
from jobs import initial as initials
from jobs.classify import ClassifySpec
from jobs.errors import SpecError
from jobs.job import Parent
from jobs.training.state import scored_weights

logger = logging.getLogger(__name__)

_DROP_PATHS = ("drop_path", "drop_path1", "drop_path2")
"""What timm calls the dropping of a residual branch in its blocks."""


def make_network(
    spec: ClassifySpec, *, classes: int, device: str, parent: Parent | None = None
) -> nn.Module:
    """Build the backbone of a spec and give it its initial weights.

    Args:
        spec: Says which, from which seed, and from what weights.
        classes: Width of the classifier.
        device: Where.
        parent: The run that `spec.initial` names.

    Raises:
        SpecError: The backbone cannot be built, or the weights cannot be had or do not fit.
    """
    pretrained = spec.initial == initials.PRETRAINED
    try:
        network = build(
            spec.backbone,
            classes=classes,
            image_size=spec.recipe.image_size,
            seed=spec.seed,
            device=device,
            pretrained=pretrained,
            dropout=spec.recipe.dropout,
            drop_path=spec.recipe.drop_path,
        )
    except BackboneError as error:
        raise SpecError(str(error)) from error
    except TypeError as error:
        # some of timm's constructors do not know every rate
        if not (spec.recipe.dropout or spec.recipe.drop_path):
            raise
        raise SpecError(
            f"{spec.backbone} has no place for recipe.dropout or recipe.drop_path ({error}); "
            "train it with 0"
        ) from error
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise SpecError(
            f"the library's weights for {spec.backbone} cannot be had ({error}); "
            f"use initial={initials.SCRATCH} or a file of weights"
        ) from error
    if spec.recipe.drop_path_course == "constant":
        _drop_everywhere(network, spec.recipe.drop_path)
    source = _source(spec, parent)
    if source is not None:
        with _explained():
            fit = weights.load(network, source, backbone=spec.backbone, own_classes=classes)
        # training sets temperatures by its own schedule, from the first step on
        logger.info("initial weights", extra={"initial": spec.initial, "found": str(fit)})
    return network


def check_initial(spec: ClassifySpec, *, classes: int, parent: Parent | None = None) -> None:
    """See that initial weights of a file or a run fit the network, without making it.

    Args:
        spec: Says which weights and which network.
        classes: Width of the classifier.
        parent: The run that `spec.initial` names.

    Raises:
        SpecError: They cannot be read or do not fit.
    """
    source = _source(spec, parent)
    if source is not None:
        network = build(
            spec.backbone, classes=classes, image_size=spec.recipe.image_size, device="meta"
        )
        with _explained():
            weights.recognise(network, source, backbone=spec.backbone, own_classes=classes)


def _drop_everywhere(network: nn.Module, rate: float) -> None:
    """Give every residual branch one rate, the first blocks' too, which timm leaves without.

    Raises:
        SpecError: The network has no residual branches that can be dropped.
    """
    found = 0
    for block in list(network.modules()):
        for name in _DROP_PATHS:
            if hasattr(block, name):
                setattr(block, name, DropPath(rate))
                found += 1
    if not found:
        raise SpecError(
            "recipe.drop_path_course=constant: this network has no paths that could be dropped; "
            "leave it and drop_path at their defaults, or choose one of timm's residual networks"
        )


def _source(spec: ClassifySpec, parent: Parent | None) -> str | dict[str, Tensor] | None:
    """Return the file, or the weights of the run, that a network is to be filled with."""
    if parent is not None:
        return scored_weights(parent.folder, ema=bool(parent.facts.get("ema")))
    return spec.initial if initials.is_file(spec.initial) else None


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except WeightsError as error:
        raise SpecError(f"initial: {error}") from error
