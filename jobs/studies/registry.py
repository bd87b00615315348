"""The list of studies: every YAML file of this folder, and files of a user's own."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

import yaml
from pydantic import ValidationError

from backbones.errors import near
from jobs import studies
from jobs.errors import SpecError
from jobs.job import explain
from jobs.studies.study import MODELS, Study

CLASSIFY = "classify"
"""Kind of a study that names none."""

_SUFFIX = ".yaml"


@cache
def names() -> tuple[str, ...]:
    """Return the name of every study, sorted."""
    folder = files(studies.__name__)
    return tuple(
        sorted(
            file.name.removesuffix(_SUFFIX)
            for file in folder.iterdir()
            if file.name.endswith(_SUFFIX)
        )
    )


@cache
def get(name: str) -> Study:
    """Return a study.

    Raises:
        SpecError: There is none of that name.
    """
    if name not in names():
        raise SpecError(
            f"unknown study {name!r}; {near(name, names())} (platform studies lists them)"
        )
    text = files(studies.__name__).joinpath(name + _SUFFIX).read_text("utf-8")
    return _parsed(text, name=name, place=name)


def read(file: Path) -> Study:
    """Read a study from a file of a user's own.

    Raises:
        SpecError: The file cannot be read, is no YAML, or has a wrong field; every such is named.
    """
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot read study file {file}: {error}") from error
    study = _parsed(text, name=file.stem, place=str(file))
    if study.name in names() and study != get(study.name):
        raise SpecError(
            f"{file}: there is another study {study.name!r}, and results go by the name; "
            "give this one a `name` of its own"
        )
    return study


def _parsed(text: str, *, name: str, place: str) -> Study:
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SpecError(f"study {place} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise SpecError(
            f"study {place} holds {type(values).__name__}; expected a mapping with title, recipe "
            "and rows"
        )
    kind = str(values.get("kind", CLASSIFY))
    if kind not in MODELS:
        raise SpecError(f"study {place}: unknown kind {kind!r}; {near(kind, MODELS)}")
    model = MODELS[kind]
    try:
        return model.model_validate({"name": name, **values})
    except ValidationError as error:
        raise SpecError(f"study {place}: {explain(error, model)}") from error
