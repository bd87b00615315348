"""Recipes: training protocols with a name. One file a paper, one function a recipe, no torch."""

from jobs.recipes.recipe import Recipe
from jobs.recipes.registry import ChosenRecipe, changed, get, names, summary

__all__ = ["ChosenRecipe", "Recipe", "changed", "get", "names", "summary"]
