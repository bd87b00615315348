"""From a PIL image to a tensor: the transforms that a recipe names."""

from __future__ import annotations

from collections.abc import Callable

import torch
from PIL.Image import Image
from timm.data.auto_augment import rand_augment_transform
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from jobs.recipes.recipe import Recipe

Transform = Callable[[Image], Tensor]
"""RGB image of any size -> (3, image_size, image_size) float32, normalised."""


def training(recipe: Recipe) -> Transform:
    """Return the training transforms; they draw from the global generators (see `draws`)."""
    steps = _crop(recipe)
    if recipe.flip:
        steps.append(v2.RandomHorizontalFlip())
    if recipe.rand_augment:
        steps.append(_rand_augment(recipe))
    elif recipe.colour_jitter:
        steps.append(v2.ColorJitter(*[recipe.colour_jitter] * 3))
    steps.extend(_to_tensor())
    if recipe.erasing:
        # "random" fills with noise of unit variance, which is what normalised pixels look like
        steps.append(v2.RandomErasing(p=recipe.erasing, scale=(0.02, 1 / 3), value="random"))
    made: Transform = v2.Compose(steps)
    return made


def evaluation(recipe: Recipe) -> Transform:
    """Return the evaluation transforms: resize by image_size / crop_pct, then a centre crop."""
    made: Transform = v2.Compose([*_centre(recipe), *_to_tensor()])
    return made


def _crop(recipe: Recipe) -> list[Callable[..., object]]:
    mode = InterpolationMode(recipe.interpolation)
    if recipe.crop == "rrc":
        return [
            v2.RandomResizedCrop(
                recipe.image_size, scale=recipe.scale, ratio=recipe.ratio, interpolation=mode
            )
        ]
    centre = _centre(recipe)
    if recipe.crop == "none":
        return centre
    return [*centre, v2.RandomCrop(recipe.image_size, padding=recipe.image_size // 8)]


def _centre(recipe: Recipe) -> list[Callable[..., object]]:
    mode = InterpolationMode(recipe.interpolation)
    side_px = round(recipe.image_size / recipe.crop_pct)
    return [v2.Resize(side_px, interpolation=mode), v2.CenterCrop(recipe.image_size)]


def _rand_augment(recipe: Recipe) -> Callable[..., object]:
    mean = tuple(round(255 * value) for value in IMAGENET_DEFAULT_MEAN)
    text = f"rand-m{recipe.rand_augment:g}-mstd{recipe.rand_augment_std:g}-inc1"
    made: Callable[..., object] = rand_augment_transform(
        text, {"translate_const": round(recipe.image_size * 0.45), "img_mean": mean}
    )
    return made


def _to_tensor() -> list[Callable[..., object]]:
    return [
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
    ]
