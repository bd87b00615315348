"""Schedules that detectors are compared on: 1x, 2x and 3x, read from mmdet's config files.

Nothing heavy is imported, so that a recipe can be listed and checked with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from detection.errors import ConfigError
from detection.installed import config_file

OptimiserName = Literal["sgd", "adamw"]

_FILES: dict[tuple[str, str], str] = {
    ("1x", "sgd"): "_base_/schedules/schedule_1x.py",
    ("2x", "sgd"): "_base_/schedules/schedule_2x.py",
    ("3x", "sgd"): "common/ms_3x_coco-instance.py",
    ("1x", "adamw"): "swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py",
    ("3x", "adamw"): "swin/mask-rcnn_swin-t-p4-w7_fpn_ms-crop-3x_coco.py",
}


@dataclass(frozen=True)
class Schedule:
    """How long a detector is trained and with which steps.

    Attributes:
        epochs: Passes over the training images.
        step_epochs: After so many epochs the learning rate is multiplied by `gamma`.
        gamma: Factor of a step.
        warmup_steps: Steps of the optimiser in which the learning rate grows linearly.
        warmup_ratio: Share of the learning rate that the first step has.
        optimiser: ``sgd`` or ``adamw``.
        lr: Learning rate for `lr_batch` images per step.
        momentum: Of SGD; the first beta of AdamW.
        betas: Of AdamW; None for SGD.
        weight_decay: Per step, relative to the learning rate.
        lr_batch: Images per step that `lr` is for.
    """

    epochs: int
    step_epochs: tuple[int, ...]
    gamma: float
    warmup_steps: int
    warmup_ratio: float
    optimiser: OptimiserName
    lr: float
    momentum: float
    betas: tuple[float, float] | None
    weight_decay: float
    lr_batch: int


@cache
def schedule(name: str, *, optimiser: OptimiserName = "sgd") -> Schedule:
    """Return a schedule as mmdet's own files have it.

    Args:
        name: ``1x`` (12 epochs), ``2x`` (24) or ``3x`` (36).
        optimiser: ``adamw`` is what hierarchical transformers and ConvNeXt are trained with; there
            is no 2x of it.

    Raises:
        ConfigError: There is no such schedule.
    """
    if (name, optimiser) not in _FILES:
        known = ", ".join(f"{one} with {with_}" for one, with_ in _FILES)
        raise ConfigError(f"no schedule {name!r} with {optimiser!r}; known: {known}")
    values = _values(config_file(_FILES[name, optimiser]))
    warmup, steps = values["param_scheduler"]
    settings = values["optim_wrapper"]["optimizer"]
    times = _passes(values)
    betas = tuple(settings["betas"]) if optimiser == "adamw" else None
    return Schedule(
        epochs=values["train_cfg"]["max_epochs"] * times,
        step_epochs=tuple(epoch * times for epoch in steps["milestones"]),
        gamma=steps["gamma"],
        warmup_steps=warmup["end"] - warmup["begin"],
        warmup_ratio=warmup["start_factor"],
        optimiser=optimiser,
        lr=settings["lr"],
        momentum=betas[0] if betas else settings["momentum"],
        betas=betas,
        weight_decay=settings["weight_decay"],
        lr_batch=values["auto_scale_lr"]["base_batch_size"],
    )


def _passes(values: Mapping[str, Any]) -> int:
    """Return how many passes over the images mmdet counts as one epoch."""
    dataset = values.get("train_dataloader", {}).get("dataset", {})
    times: int = dataset.get("times", 1)
    return times


def _values(file: Path) -> dict[str, Any]:
    """Return what a config file assigns, over what its base files do.

    The files are Python but for variables of their bases, in double braces, of which a schedule
    uses none.
    """
    own: dict[str, Any] = {}
    text = re.sub(r"\{\{.*?\}\}", "None", file.read_text(encoding="utf-8"))
    exec(compile(text, str(file), "exec"), own)
    del own["__builtins__"]
    bases = own.pop("_base_", [])
    merged: dict[str, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        merged |= _values((file.parent / base).resolve())
    return _over(merged, own)


def _over(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `own` over `base`, dictionary by dictionary, as mmengine does."""
    merged = {} if own.get("_delete_") else dict(base)
    for key, value in own.items():
        if isinstance(value, dict):
            below = merged.get(key)
            merged[key] = _over(below if isinstance(below, dict) else {}, value)
        else:
            merged[key] = value
    return merged
