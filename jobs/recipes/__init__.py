"""Recipes: training protocols with a name. One file a paper, one function a recipe, no torch."""

from jobs.recipes.detection import DetectionRecipe
from jobs.recipes.recipe import Recipe
from jobs.recipes.registry import (
    MODELS,
    ChosenDetectionRecipe,
    ChosenRecipe,
    changed,
    get,
    names,
    summary,
)
from jobs.recipes.training import TrainingRecipe

__all__ = [
    "MODELS",
    "ChosenDetectionRecipe",
    "ChosenRecipe",
    "DetectionRecipe",
    "Recipe",
    "TrainingRecipe",
    "changed",
    "get",
    "names",
    "summary",
]
