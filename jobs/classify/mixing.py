"""Mixup and CutMix: pairs of images and of labels, mixed."""

from __future__ import annotations

from timm.data.mixup import Mixup
from torch import Tensor

from jobs.recipes import Recipe


class Mixing:
    """Mixes a micro-batch with itself in reverse order; draws from the global generators.

    Args:
        recipe: Says what is mixed, and how alpha of mixup rises.
        classes: Number of classes.
    """

    def __init__(self, recipe: Recipe, *, classes: int) -> None:
        self._recipe = recipe
        self._mixup = Mixup(  # type: ignore[no-untyped-call]  # timm does not annotate it
            mixup_alpha=recipe.mixup,
            cutmix_alpha=recipe.cutmix,
            label_smoothing=0.0,  # the loss smooths
            num_classes=classes,
        )

    def __call__(self, images: Tensor, targets: Tensor, *, epoch: float) -> tuple[Tensor, Tensor]:
        """Mix in place.

        Args:
            images: (N, 3, S, S) float32, N even.
            targets: (N,) int64.
            epoch: Epochs trained so far, with the part of the present one.

        Returns:
            The images, and (N, classes) probabilities.
        """
        self._mixup.mixup_alpha = mixup_alpha(self._recipe, epoch=epoch)
        self._mixup.mixup_enabled = bool(self._mixup.mixup_alpha or self._recipe.cutmix)
        mixed: tuple[Tensor, Tensor] = self._mixup(images, targets)
        return mixed


def make_mixing(recipe: Recipe, *, classes: int) -> Mixing | None:
    """Return the recipe's mixing of images, if it has any."""
    return Mixing(recipe, classes=classes) if recipe.mixup or recipe.cutmix else None


def mixup_alpha(recipe: Recipe, *, epoch: float) -> float:
    """Return alpha of mixup after so many epochs, part of the present one included."""
    if epoch >= recipe.mixup_ramp_epochs:
        return recipe.mixup
    return recipe.mixup * epoch / recipe.mixup_ramp_epochs
