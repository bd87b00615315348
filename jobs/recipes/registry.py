"""The list of recipes: every function of this folder's modules that returns a `Recipe`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Annotated

from pydantic import BeforeValidator

from backbones.errors import near
from jobs import recipes
from jobs.errors import SpecError
from jobs.recipes.recipe import Recipe

_NOT_A_PAPER = {"recipe", "registry"}


def names() -> list[str]:
    """Return the name of every recipe, sorted."""
    return sorted(_makers())


def get(name: str) -> Recipe:
    """Return a recipe.

    Raises:
        SpecError: There is none of that name.
    """
    return _maker(name)()


def summary(name: str) -> str:
    """Return the first line of a recipe's description.

    Raises:
        SpecError: There is none of that name.
    """
    return (inspect.getdoc(_maker(name)) or "").partition("\n")[0]


def changed(base: Recipe, changes: Mapping[str, object]) -> dict[str, object]:
    """Return the values of a recipe with some changed, not checked yet.

    It is named as a backbone is: what differs stands in brackets.
    """
    differing = ",".join(f"{k}={v}" for k, v in changes.items() if k != "name")
    name = f"{base.name}({differing})" if differing else base.name
    return {**base.model_dump(), "name": name, **changes}


def _values(given: object) -> object:
    """Turn a recipe's name, or changes of a named one, into its values."""
    if isinstance(given, Recipe):
        return given
    try:
        if isinstance(given, str):
            return get(given)
        if isinstance(given, Mapping) and "base" in given:
            changes = {key: value for key, value in given.items() if key != "base"}
            return changed(get(str(given["base"])), changes)
    except SpecError as error:
        raise ValueError(str(error)) from error
    return given


ChosenRecipe = Annotated[Recipe, BeforeValidator(_values)]
"""A field that takes a recipe's name, its values, or ``{base: name, field: value, ...}``."""


def _maker(name: str) -> Callable[[], Recipe]:
    if name not in _makers():
        hint = near(name, _makers(), listed=len(_makers()))  # no command lists recipes
        raise SpecError(f"unknown recipe {name!r}; {hint}")
    return _makers()[name]


@cache
def _makers() -> Mapping[str, Callable[[], Recipe]]:
    found: dict[str, Callable[[], Recipe]] = {}
    for info in pkgutil.iter_modules(recipes.__path__):
        if info.name not in _NOT_A_PAPER:
            for name, maker in _recipes_of(f"{recipes.__name__}.{info.name}"):
                if name in found:
                    raise SpecError(f"recipe {name!r} stands in two files: rename one")
                found[name] = maker
    return found


def _recipes_of(module: str) -> Iterator[tuple[str, Callable[[], Recipe]]]:
    for name, value in vars(importlib.import_module(module)).items():
        own = inspect.isfunction(value) and value.__module__ == module
        if own and not name.startswith("_"):
            yield name, value
