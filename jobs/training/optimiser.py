"""The optimiser of a recipe over groups of parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from jobs.recipes.training import TrainingRecipe

LR_SHARE = "lr_share"
"""Key of a group of parameters: its learning rate over the recipe's; 1 where it is missing."""


def optimiser_over(groups: Sequence[Mapping[str, Any]], recipe: TrainingRecipe) -> Optimizer:
    """Return the recipe's optimiser.

    Args:
        groups: As torch's optimisers take them, each with its ``weight_decay`` and, where its
            learning rate is another, `LR_SHARE`.
        recipe: Says the rest.
    """
    given = [dict(group) for group in groups]
    # fused: done tensor by tensor, the update was 16 % of a step of ResNet-18 at 32 px on one core
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(given, lr=recipe.peak_lr, betas=recipe.betas, fused=True)
    return torch.optim.SGD(
        given, lr=recipe.peak_lr, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True
    )


def set_learning_rate(optimiser: Optimizer, rate: float) -> None:
    """Set the learning rate of all groups, each to its share."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get(LR_SHARE, 1.0)
