"""The learning rate as a function of the step: nothing to save, nothing to lose on resuming."""

from __future__ import annotations

import math

from jobs.recipes.training import TrainingRecipe


def learning_rate(recipe: TrainingRecipe, *, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of a step.

    Args:
        recipe: Whose schedule.
        step: Optimiser steps done before, from 0.
        steps_per_epoch: Optimiser steps of an epoch.
    """
    if recipe.schedule == "cycles":
        return _cyclic(recipe, epoch=step // steps_per_epoch)
    warmup_steps = recipe.rising_steps(steps_per_epoch)
    if step < warmup_steps:
        return recipe.first_lr + (recipe.peak_lr - recipe.first_lr) * step / warmup_steps
    if recipe.schedule == "step":
        passed = sum(step >= epoch * steps_per_epoch for epoch in recipe.step_epochs)
        return recipe.peak_lr * recipe.gamma**passed
    done = (step - warmup_steps) / (recipe.epochs * steps_per_epoch - warmup_steps)
    left = (1 + math.cos(math.pi * done)) / 2 if recipe.schedule == "cosine" else 1 - done
    return recipe.min_lr + (recipe.peak_lr - recipe.min_lr) * left


def _cyclic(recipe: TrainingRecipe, *, epoch: int) -> float:
    """Return the rate of a whole epoch: the lowest, then saw teeth, then an even fall to zero."""
    lowest = recipe.peak_lr / recipe.cycle_epochs
    cyclic = 1 + recipe.cycles * recipe.cycle_epochs
    if epoch == 0:
        return lowest
    if epoch < cyclic:
        return recipe.peak_lr - (epoch - 1) % recipe.cycle_epochs * lowest
    # the last of the cyclic epochs is the first of this fall
    return lowest * (1 - (epoch - cyclic + 1) / (recipe.epochs - cyclic + 1))
