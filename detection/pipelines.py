"""What happens to an image before a detector sees it: mmdet's own pipelines, with other sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from detection.errors import ConfigError
from detection.installed import load_config

if TYPE_CHECKING:
    from mmengine.config import ConfigDict

_WITH_MASKS = "_base_/datasets/coco_instance.py"
_BOXES_ONLY = "_base_/datasets/coco_detection.py"
_CROPPING = "swin/mask-rcnn_swin-t-p4-w7_fpn_ms-crop-3x_coco.py"


@dataclass(frozen=True)
class Cropping:
    """Of every other image a part is cut out: resized, cut, resized again.

    Attributes:
        short_sides: One of these, drawn anew, before the cut, in pixels.
        smallest: Least side of the part, in pixels.
        largest: Greatest side, in pixels.
    """

    short_sides: tuple[int, ...] = (400, 500, 600)
    smallest: int = 384
    largest: int = 600


@dataclass(frozen=True)
class Resizing:
    """To which size images are brought; the ratio of their sides stays.

    Attributes:
        short_sides: Shorter side in pixels; with several, one is drawn for each image.
        any_side: Whether any size between the least and the greatest of them is drawn.
        long_side: The longer side stays within this, in pixels.
        crop: Whether, and how, parts are cut out.
    """

    short_sides: tuple[int, ...] = (800,)
    long_side: int = 1333
    crop: Cropping | None = None
    any_side: bool = False

    def __post_init__(self) -> None:
        """Refuse sides that contradict each other."""
        sides = (*self.short_sides, *(self.crop.short_sides if self.crop else ()))
        if not self.short_sides or min(sides) < 1 or max(sides) > self.long_side:
            raise ConfigError(
                f"the shorter side of an image is at least 1 pixel and at most the longer one; "
                f"found {sides} and {self.long_side}"
            )


MULTI_SCALE = Resizing(short_sides=tuple(range(480, 801, 32)))
"""Of the studies on hierarchical backbones: from 480 to 800 pixels in steps of 32."""


def train_pipeline(
    resizing: Resizing = Resizing(),
    *,
    masks: bool = True,
    flip: float = 0.5,
) -> list[ConfigDict]:
    """Return the steps for training images.

    Args:
        resizing: To which sizes.
        masks: Whether the objects' masks are read; a detector of boxes needs none.
        flip: Share of images that are mirrored left to right.
    """
    file = _CROPPING if resizing.crop else _WITH_MASKS if masks else _BOXES_ONLY
    steps: list[ConfigDict] = load_config(file)["train_pipeline"]
    for step in steps:
        if step["type"] == "LoadAnnotations" and not masks:
            step.pop("with_mask", None)
        elif step["type"] == "RandomFlip":
            step["prob"] = flip
        elif step["type"] == "Resize":
            _resize(step, resizing.short_sides, long_side=resizing.long_side)
            if resizing.any_side and len(resizing.short_sides) > 1:
                sizes = step.pop("scales")
                step.update(type="RandomResize", scale=[sizes[0], sizes[-1]], keep_ratio=True)
        elif step["type"] == "RandomChoice":
            _crop(step["transforms"], resizing)
    return steps


def evaluation_pipeline(
    resizing: Resizing = Resizing(),
    *,
    annotations: bool = False,
    masks: bool = True,
) -> list[ConfigDict]:
    """Return the steps for images on which a detector is scored or used.

    Args:
        resizing: To which size; where it has several, the largest.
        annotations: Whether the objects come along; scores read them from the file instead.
        masks: Whether those have their masks.
    """
    file = _WITH_MASKS if masks else _BOXES_ONLY
    steps: list[ConfigDict] = load_config(file)["test_pipeline"]
    for step in steps:
        if step["type"] == "Resize":
            _resize(step, [max(resizing.short_sides)], long_side=resizing.long_side)
    return [step for step in steps if annotations or step["type"] != "LoadAnnotations"]


def _resize(step: dict[str, Any], short_sides: Sequence[int], *, long_side: int) -> None:
    """Write sizes into a step that resizes; several make it one that draws."""
    step.pop("scale", None)
    step.pop("scales", None)
    if len(short_sides) == 1:
        step.update(type="Resize", scale=(long_side, short_sides[0]))
    else:
        step.update(type="RandomChoiceResize", scales=[(long_side, side) for side in short_sides])


def _crop(choices: Sequence[Sequence[dict[str, Any]]], resizing: Resizing) -> None:
    """Write sizes into the two ways an image can take: resized whole, or cut in between."""
    crop = resizing.crop or Cropping()
    (whole,), (before, cut, after) = choices
    for step, sides in (
        (whole, resizing.short_sides),
        (before, crop.short_sides),
        (after, resizing.short_sides),
    ):
        _resize(step, sides, long_side=resizing.long_side)
    cut["crop_size"] = (crop.smallest, crop.largest)
