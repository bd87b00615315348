"""The list of recipes: every function of this folder's modules that returns one.

There is one model of recipe a kind of training (`Recipe` to classify, `DetectionRecipe` to detect);
a function's return type says of which kind its recipe is. Names are unique over all kinds.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Annotated, TypeVar, get_type_hints, overload

from pydantic import BeforeValidator

from backbones.errors import near
from jobs import recipes
from jobs.errors import SpecError
from jobs.recipes.detection import DetectionRecipe
from jobs.recipes.recipe import Recipe
from jobs.recipes.training import TrainingRecipe

MODELS: Mapping[str, type[TrainingRecipe]] = {"classify": Recipe, "detect": DetectionRecipe}
"""Kind of run to the model of its recipes."""

_NOT_A_PAPER = {"recipe", "detection", "training", "registry"}

_R = TypeVar("_R", bound=TrainingRecipe)


def names(model: type[TrainingRecipe] = Recipe) -> list[str]:
    """Return the name of every recipe of a kind, sorted; of `TrainingRecipe`: of all kinds."""
    return sorted(name for name, maker in _makers().items() if issubclass(_model_of(maker), model))


@overload
def get(name: str) -> Recipe: ...
@overload
def get(name: str, model: type[_R]) -> _R: ...
def get(name: str, model: type[TrainingRecipe] = Recipe) -> TrainingRecipe:
    """Return a recipe.

    Args:
        name: What it is called.
        model: Of which kind it must be.

    Raises:
        SpecError: There is none of that name, or it is of another kind.
    """
    return _maker(name, model)()


def summary(name: str) -> str:
    """Return the first line of a recipe's description.

    Raises:
        SpecError: There is none of that name.
    """
    return (inspect.getdoc(_maker(name, TrainingRecipe)) or "").partition("\n")[0]


def changed(base: TrainingRecipe, changes: Mapping[str, object]) -> dict[str, object]:
    """Return the values of a recipe with some changed, not checked yet.

    It is named as a backbone is: what differs stands in brackets.
    """
    differing = ",".join(f"{k}={v}" for k, v in changes.items() if k != "name")
    name = f"{base.name}({differing})" if differing else base.name
    return {**base.model_dump(), "name": name, **changes}


def _values(model: type[TrainingRecipe], given: object) -> object:
    """Turn a recipe's name, or changes of a named one, into its values."""
    if isinstance(given, TrainingRecipe):
        return given
    try:
        if isinstance(given, str):
            return get(given, model)
        if isinstance(given, Mapping) and "base" in given:
            changes = {key: value for key, value in given.items() if key != "base"}
            return changed(get(str(given["base"]), model), changes)
    except SpecError as error:
        raise ValueError(str(error)) from error
    return given


ChosenRecipe = Annotated[Recipe, BeforeValidator(partial(_values, Recipe))]
"""A field that takes a recipe's name, its values, or ``{base: name, field: value, ...}``."""

ChosenDetectionRecipe = Annotated[
    DetectionRecipe, BeforeValidator(partial(_values, DetectionRecipe))
]
"""The same for a recipe of detection."""


def _maker(name: str, model: type[TrainingRecipe]) -> Callable[[], TrainingRecipe]:
    known = names(model)
    if name in known:
        return _makers()[name]
    hint = near(name, known, listed=len(known))
    if name in _makers():
        kinds = {made: kind for kind, made in MODELS.items()}
        here, there = kinds[_model_of(_makers()[name])], kinds.get(model, "another kind")
        raise SpecError(f"recipe {name!r} is one to {here}, not to {there}; {hint}")
    raise SpecError(f"unknown recipe {name!r}; {hint}")


def _model_of(maker: Callable[[], TrainingRecipe]) -> type[TrainingRecipe]:
    model: type[TrainingRecipe] = get_type_hints(maker)["return"]
    return model


@cache
def _makers() -> Mapping[str, Callable[[], TrainingRecipe]]:
    found: dict[str, Callable[[], TrainingRecipe]] = {}
    for info in pkgutil.iter_modules(recipes.__path__):
        if info.name not in _NOT_A_PAPER:
            for name, maker in _recipes_of(f"{recipes.__name__}.{info.name}"):
                if name in found:
                    raise SpecError(f"recipe {name!r} stands in two files: rename one")
                found[name] = maker
    return found


def _recipes_of(module: str) -> Iterator[tuple[str, Callable[[], TrainingRecipe]]]:
    for name, value in vars(importlib.import_module(module)).items():
        own = inspect.isfunction(value) and value.__module__ == module
        if own and not name.startswith("_"):
            yield name, value
