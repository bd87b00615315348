"""The learning rate as a function of the step: nothing to save, nothing to lose on resuming."""

from __future__ import annotations

import math

from jobs.recipes.recipe import Recipe


def learning_rate(recipe: Recipe, *, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of a step.

    Args:
        recipe: Whose schedule.
        step: Optimiser steps done before, from 0.
        steps_per_epoch: Optimiser steps of an epoch.
    """
    if recipe.schedule == "cycles":
        return _cyclic(recipe, epoch=step // steps_per_epoch)
    warmup_steps = recipe.warmup_epochs * steps_per_epoch
    if step < warmup_steps:
        return recipe.warmup_lr + (recipe.lr - recipe.warmup_lr) * step / warmup_steps
    if recipe.schedule == "step":
        passed = sum(step >= epoch * steps_per_epoch for epoch in recipe.step_epochs)
        return recipe.lr * recipe.gamma**passed
    done = (step - warmup_steps) / (recipe.epochs * steps_per_epoch - warmup_steps)
    left = (1 + math.cos(math.pi * done)) / 2 if recipe.schedule == "cosine" else 1 - done
    return recipe.min_lr + (recipe.lr - recipe.min_lr) * left


def _cyclic(recipe: Recipe, *, epoch: int) -> float:
    """Return the rate of a whole epoch: the lowest, then saw teeth, then an even fall to zero."""
    lowest = recipe.lr / recipe.cycle_epochs
    cyclic = 1 + recipe.cycles * recipe.cycle_epochs
    if epoch == 0:
        return lowest
    if epoch < cyclic:
        return recipe.lr - (epoch - 1) % recipe.cycle_epochs * lowest
    # the last of the cyclic epochs is the first of this fall
    return lowest * (1 - (epoch - cyclic + 1) / (recipe.epochs - cyclic + 1))
