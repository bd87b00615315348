"""A cut-down copy of the embedded scenes, and specs of detectors that train in seconds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from jobs.data import digit_scenes
from jobs.detect import DetectSpec

TINY = "test_resnet/conv"
"""A network of 0.5 M parameters that timm keeps for tests."""


def write(cache: Path, target: Path, *, train: int = 8, val: int = 4) -> Path:
    """Copy the first scenes of each split, free to be spoiled."""
    whole = digit_scenes.write(cache)
    (target / "annotations").mkdir(parents=True)
    for split, count in (("train", train), ("val", val)):
        name = f"annotations/instances_{split}2017.json"
        document = json.loads((whole / name).read_text())
        document["images"] = document["images"][:count]
        kept = {image["id"] for image in document["images"]}
        document["annotations"] = [
            entry for entry in document["annotations"] if entry["image_id"] in kept
        ]
        (target / name).write_text(json.dumps(document))
        (target / f"{split}2017").mkdir()
        for image in document["images"]:
            shutil.copy2(
                whole / f"{split}2017" / image["file_name"],
                target / f"{split}2017" / image["file_name"],
            )
    return target


def make_spec(data: Path, fields: dict[str, Any] | None = None, **changes: Any) -> DetectSpec:
    """Make a spec of two epochs over few scenes; keywords change its recipe."""
    recipe = {
        "base": "digit_scenes_quick",
        "epochs": 2,
        "warmup_steps": 2,
        "batch_size": 2,
        "micro_batch": 2,
        "lr_batch": 2,
        "short_sides": [64],
        "test_side": 64,
        "long_side": 64,
        "pyramid_channels": 16,
        "box_channels": 32,
        "mask_convs": 1,
        "proposals": 32,
        "regions": 16,
        "anchors": 16,
    }
    values = {
        "backbone": TINY,
        "data": str(data),
        "recipe": {**recipe, **changes},
        "samples": 2,
        **(fields or {}),
    }
    return DetectSpec.model_validate(values)
