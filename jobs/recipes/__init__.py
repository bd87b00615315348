"""Recipes: training protocols with a name. One file a paper, one function a recipe, no torch."""

from jobs.recipes.recipe import Recipe
from jobs.recipes.registry import ChosenRecipe, get, names, summary

__all__ = ["ChosenRecipe", "Recipe", "get", "names", "summary"]
