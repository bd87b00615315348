"""What a recipe is: the values that two methods must share to be compared."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from operator import eq
from typing import Literal

from pydantic import Field

from jobs.recipes.training import Fault, Span, TrainingRecipe


class Recipe(TrainingRecipe):
    """A protocol of training to classify: values, and a name that takes no part in comparisons."""

    decay_norm_and_bias: bool = Field(
        default=False, description="Whether one-dimensional parameters and biases decay too."
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="Probability spread over all classes."
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout before the classifier.")
    drop_path: float = Field(
        default=0.0, ge=0, lt=1, description="Stochastic depth: rate of the last block."
    )
    drop_path_course: Literal["linear", "constant"] = Field(
        default="linear",
        exclude_if=partial(eq, "linear"),
        description="Rate of the blocks before the last: rising from 0 with depth, or the same.",
    )
    mixup: float = Field(
        default=0.0, ge=0, description="Alpha of mixup, drawn once a micro-batch; 0: none."
    )
    mixup_ramp_epochs: float = Field(
        default=0.0,
        ge=0,
        exclude_if=partial(eq, 0.0),
        description="Epochs in which alpha of mixup rises from 0, linearly with each step.",
    )
    cutmix: float = Field(
        default=0.0,
        ge=0,
        description="Alpha of CutMix; beside mixup, each takes half of the micro-batches.",
    )
    ema: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Decay of the average of weights that is scored; None: raw weights.",
    )

    image_size: int = Field(
        ge=8, description="Height and width of training and evaluation crops, px."
    )
    crop: Literal["rrc", "pad4", "none"] = Field(
        default="rrc",
        description="Training crop: random resized; moved by up to an eighth of the side over a "
        "black border (4 px of 32, as on CIFAR); or the evaluation crop.",
    )
    scale: Span = Field(
        default=(0.08, 1.0), description="Share of the area that a random resized crop takes."
    )
    ratio: Span = Field(
        default=(0.75, 4 / 3), description="Width over height of a random resized crop."
    )
    flip: bool = Field(
        default=True, description="Mirror half of the training images left to right."
    )
    rand_augment: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="Magnitude of RandAugment (2 operations, increasing); 0: none.",
    )
    rand_augment_std: float = Field(default=0.5, ge=0, description="Spread of that magnitude.")
    colour_jitter: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Brightness, contrast and saturation; not beside RandAugment.",
    )
    erasing: float = Field(
        default=0.0, ge=0, le=1, description="Share of images with a rectangle of noise."
    )
    interpolation: Literal["bilinear", "bicubic"] = Field(
        default="bilinear", description="Interpolation of resizes in training and evaluation."
    )
    crop_pct: float = Field(
        default=0.875,
        gt=0,
        le=1,
        description="Evaluation: the shorter side becomes image_size / crop_pct, then the centre.",
    )

    def _faults(self) -> Iterable[Fault]:
        yield from super()._faults()
        yield from (
            (
                (self.mixup or self.cutmix) and self.micro_batch % 2,
                f"mixup and cutmix pair images: micro_batch must be even, found {self.micro_batch}",
            ),
            (
                not 0 < self.scale[0] <= self.scale[1] <= 1,
                f"scale must grow within (0, 1], found {list(self.scale)}",
            ),
            (
                not 0 < self.ratio[0] <= self.ratio[1],
                f"ratio must grow and be above 0, found {list(self.ratio)}",
            ),
            (
                self.mixup_ramp_epochs and not self.mixup,
                "mixup_ramp_epochs needs a mixup above 0",
            ),
            (
                self.drop_path_course == "constant" and not self.drop_path,
                "drop_path_course 'constant' needs a drop_path above 0",
            ),
        )

    @property
    def scored_px(self) -> str:
        """Height and width of the images that are scored, px."""
        return str(self.image_size)
