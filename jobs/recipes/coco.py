"""MS-COCO as mmdetection trains it: the schedules on which papers compare detectors.

Their lengths, steps and rates are read from the configs of the installed mmdetection.
"""

from __future__ import annotations

from typing import Any

from detection.schedules import OptimiserName, schedule
from jobs.recipes.detection import DetectionRecipe


def coco_1x() -> DetectionRecipe:
    """COCO, 12 epochs: SGD 0.02 for 16 images, 800 px (mmdetection's 1x).

    Command: ``platform submit detect resnet50/conv --set data=<COCO> --set recipe=coco_1x --set
        initial=pretrained
    --workers 8 --gpus 1``. Published for ResNet-50: mask AP 34.7 (mmdetection); not measured here.
    """
    return DetectionRecipe(**_values("coco_1x", "1x"))


def coco_2x() -> DetectionRecipe:
    """COCO, 24 epochs: SGD 0.02 for 16 images, 800 px (mmdetection's 2x).

    Command: as `coco_1x`. Not measured here.
    """
    return DetectionRecipe(**_values("coco_2x", "2x"))


def coco_3x() -> DetectionRecipe:
    """COCO, 36 epochs: SGD 0.02 for 16 images, any shorter side of 640 to 800 px (3x).

    Command: as `coco_1x`. Not measured here.
    """
    values = _values("coco_3x", "3x")
    return DetectionRecipe(**{**values, "short_sides": (640, 800), "any_side": True})


def coco_1x_adamw() -> DetectionRecipe:
    """COCO, 12 epochs: AdamW 1e-4, 800 px (mmdetection's 1x of Swin, without its transformer).

    Command: as `coco_1x`. Not measured here.
    """
    return DetectionRecipe(**_values("coco_1x_adamw", "1x", "adamw"))


def coco_3x_adamw() -> DetectionRecipe:
    """COCO, 36 epochs: AdamW 1e-4, shorter sides of 480 to 800 px and crops (3x of Swin).

    Command: as `coco_1x`. Not measured here.
    """
    values = _values("coco_3x_adamw", "3x", "adamw")
    return DetectionRecipe(**{**values, "short_sides": tuple(range(480, 801, 32)), "crop": True})


def _values(name: str, length: str, optimiser: OptimiserName = "sgd") -> dict[str, Any]:
    """Return the values of a recipe that are those of a schedule of mmdetection.

    Args:
        name: Of the recipe.
        length: ``1x``, ``2x`` or ``3x``.
        optimiser: With which.
    """
    found = schedule(length, optimiser=optimiser)
    values: dict[str, Any] = {
        "name": name,
        "epochs": found.epochs,
        "batch_size": found.lr_batch,
        "micro_batch": 2,
        "optimiser": found.optimiser,
        "lr": found.lr,
        "weight_decay": found.weight_decay,
        "schedule": "step",
        "step_epochs": found.step_epochs,
        "gamma": found.gamma,
        "lr_batch": found.lr_batch,
        "warmup_steps": found.warmup_steps,
        "warmup_ratio": found.warmup_ratio,
    }
    if found.betas is None:
        return {**values, "momentum": found.momentum}
    return {**values, "betas": found.betas, "decays": "not_norms"}
