"""What a recipe of detection is: training, image sizes and the heads behind the backbone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from jobs.recipes.training import Fault, TrainingRecipe


class DetectionRecipe(TrainingRecipe):
    """A protocol of training to detect: what two backbones must share to be compared.

    Defaults are mmdetection's for Mask and Faster R-CNN with a feature pyramid on COCO.
    """

    lr_batch: int = Field(
        default=16,
        ge=1,
        description="Batch size for which `lr` is given; with another batch_size it is scaled "
        "linearly.",
    )
    warmup_steps: int = Field(
        default=500, ge=0, description="Steps of linear rise at the start, of `warmup_ratio` on."
    )
    warmup_ratio: float = Field(
        default=0.001, ge=0, le=1, description="Share of `lr` from which it rises."
    )
    decays: Literal["all", "not_norms", "matrices"] = Field(
        default="all",
        description="Which parameters decay: all; all but those of norms; or neither norms nor "
        "biases nor other vectors.",
    )
    layer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Learning rate of a layer of the backbone over that of the layer after it.",
    )
    layers: int = Field(
        default=6, ge=1, description="Groups into which layer_decay parts the backbone's blocks."
    )
    frozen_stages: int = Field(
        default=1,
        ge=0,
        le=4,
        description="Parts of the backbone that stay as they are: 1: stem and first stage, ...; "
        "0 is what training from scratch needs.",
    )
    norm_eval: bool = Field(
        default=True,
        description="Whether the backbone's batch norms keep their statistics; false for training "
        "from scratch.",
    )
    drop_path: float = Field(
        default=0.0, ge=0, lt=1, description="Stochastic depth of the backbone's last block."
    )
    output_norms: bool = Field(
        default=False,
        description="Whether each map of the backbone passes a LayerNorm, as ConvNeXt's do.",
    )

    short_sides: tuple[int, ...] = Field(
        default=(800,),
        min_length=1,
        description="Shorter side of a training image, px; one of these is drawn.",
    )
    any_side: bool = Field(
        default=False,
        description="Whether any side between the least and the largest of short_sides is drawn.",
    )
    long_side: int = Field(default=1333, ge=32, description="Longer side at most, px.")
    crop: bool = Field(
        default=False,
        description="Whether half of the training images are resized to 400, 500 or 600 px, cut "
        "to a part of 384 to 600 px, and resized again, after DETR.",
    )
    flip: bool = Field(
        default=True, description="Mirror half of the training images left to right."
    )
    test_side: int = Field(default=800, ge=32, description="Shorter side in evaluation, px.")

    pyramid_channels: int = Field(
        default=256, ge=8, description="Channels of the feature pyramid and of the mask head."
    )
    box_channels: int = Field(default=1024, ge=8, description="Width of the box head.")
    mask_convs: int = Field(default=4, ge=1, description="Convolutions of the mask head.")
    anchor_scale: float = Field(
        default=8.0, gt=0, description="Side of an anchor over the stride of its map."
    )
    anchors: int = Field(
        default=256, ge=2, description="Anchors that train the first stage, of each image."
    )
    candidates: int | None = Field(
        default=None,
        ge=1,
        description="Regions of each map before overlapping ones are dropped; None: mmdetection's, "
        "2000 in training and 1000 in evaluation.",
    )
    proposals: int = Field(
        default=1000, ge=1, description="Regions that reach the second stage, of each image."
    )
    regions: int = Field(
        default=512, ge=2, description="Of them, those that train it, of each image."
    )
    detections: int = Field(
        default=100, ge=1, le=100, description="Objects that are found at most, of each image."
    )

    def _faults(self) -> Iterable[Fault]:
        yield from super()._faults()
        largest = max(*self.short_sides, self.test_side)
        yield from (
            (
                self.warmup_epochs or self.warmup_lr,
                "detection warms up by warmup_steps and warmup_ratio; leave warmup_epochs and "
                "warmup_lr at 0",
            ),
            (
                list(self.short_sides) != sorted(set(self.short_sides)),
                f"short_sides must grow, found {list(self.short_sides)}",
            ),
            (
                min(self.short_sides) < 32,
                f"short_sides must be 32 px or more, found {list(self.short_sides)}",
            ),
            (
                largest > self.long_side,
                f"long_side {self.long_side} is less than a shorter side of {largest}",
            ),
            (
                self.regions > self.proposals,
                f"regions {self.regions} are more than the proposals {self.proposals} that they "
                "are taken from",
            ),
        )

    @property
    def peak_lr(self) -> float:
        """Learning rate after warm-up: `lr` in proportion to the batch size."""
        return self.lr * self.batch_size / self.lr_batch

    @property
    def first_lr(self) -> float:
        """Learning rate of the first step."""
        return self.peak_lr * self.warmup_ratio

    @property
    def scored_px(self) -> str:
        """Shorter side by longer side at most, px."""
        return f"{self.test_side}x{self.long_side}"

    @property
    def counted_px(self) -> tuple[int, int]:
        """Height and width of the image for which a detector is counted and timed, px.

        Of the size of evaluation, 1.6 times as wide as high (800 x 1280 is what mmdetection counts
        at) or as wide as it may be.
        """
        return self.test_side, min(self.long_side, 8 * self.test_side // 5)

    def rising_steps(self, steps_per_epoch: int) -> float:
        """Return at which step, from 0, the learning rate is at its peak: the last of warm-up."""
        return max(self.warmup_steps - 1, 0)
