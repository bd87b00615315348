"""The network of a training run with its initial weights."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn

from backbones.build import build
from backbones.errors import BackboneError
from jobs.classify import PRETRAINED, SCRATCH, ClassifySpec
from jobs.errors import SpecError

logger = logging.getLogger(__name__)

_SHOWN = 5
_DROP_PATHS = ("drop_path", "drop_path1", "drop_path2")
"""What timm calls the dropping of a residual branch in its blocks."""


def make_network(spec: ClassifySpec, *, classes: int, device: str) -> nn.Module:
    """Build the backbone of a spec and give it its initial weights.

    Args:
        spec: Says which, from which seed, and from what weights.
        classes: Width of the classifier.
        device: Where.

    Raises:
        SpecError: The backbone cannot be built, or the weights cannot be had or do not fit.
    """
    pretrained = spec.initial == PRETRAINED
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
            f"use initial={SCRATCH} or a file of weights"
        ) from error
    if spec.recipe.drop_path_course == "constant":
        _drop_everywhere(network, spec.recipe.drop_path)
    if spec.initial not in {SCRATCH, PRETRAINED}:
        _load(network, Path(spec.initial), classes=classes)
    return network


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


def initial_name(spec: ClassifySpec) -> str:
    """Return what initial weights are called in comparisons: a file by its name and contents."""
    if spec.initial in {SCRATCH, PRETRAINED}:
        return spec.initial
    file = Path(spec.initial)
    with file.open("rb") as opened:
        return f"{file.name}#{hashlib.file_digest(opened, 'sha256').hexdigest()[:16]}"


def _load(network: nn.Module, file: Path, *, classes: int) -> None:
    given = _read(file)
    own = network.state_dict()
    # a classifier for other classes cannot be taken over; everything else must be
    other_classes = {
        name
        for name in given.keys() & own.keys()
        if _is_other_classifier(given[name], own[name], classes=classes)
    }
    faults = {
        "missing": sorted(own.keys() - given.keys()),
        "unexpected": sorted(given.keys() - own.keys()),
        "of another shape": sorted(
            f"{name} {tuple(given[name].shape)} for {tuple(own[name].shape)}"
            for name in (given.keys() & own.keys()) - other_classes
            if given[name].shape != own[name].shape
        ),
    }
    found = [
        f"{len(names)} {what}: {', '.join(names[:_SHOWN])}"
        for what, names in faults.items()
        if names
    ]
    if found:
        raise SpecError(f"the weights in {file} do not fit; {'; '.join(found)}")
    if other_classes:
        logger.info("classifier left as initialised", extra={"tensors": sorted(other_classes)})
    kept = {name: value for name, value in given.items() if name not in other_classes}
    network.load_state_dict(kept, strict=False)


def _is_other_classifier(given: Tensor, own: Tensor, *, classes: int) -> bool:
    return (
        own.ndim in {1, 2}
        and own.shape[0] == classes != given.shape[0]
        and given.shape[1:] == own.shape[1:]
    )


def _read(file: Path) -> Mapping[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        loaded: Any = torch.load(file, map_location="cpu", weights_only=True)
    # what a file of unknown origin makes the readers raise has no common class
    except Exception as error:
        raise SpecError(f"cannot read weights from {file}: {error}") from error
    # our own checkpoints hold the average that was scored beside the raw weights
    for key in ("ema", "network", "state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    if not isinstance(loaded, Mapping) or not all(
        isinstance(value, Tensor) for value in loaded.values()
    ):
        raise SpecError(f"{file} holds no weights: expected a mapping of names to tensors")
    return {str(name).removeprefix("module."): value for name, value in loaded.items()}
