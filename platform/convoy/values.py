"""What a user types as the values of a spec: ``--set key=value`` and spec files, as one mapping."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from convoy.errors import SubmissionError

NUMBERS_MOST = 10_000
RECIPE = "recipe"
BASE = "base"
"""A recipe that is named and changed is written as ``{"base": name, field: value, ...}``."""


def read_values(*, file: Path | None, sets: Sequence[str]) -> dict[str, Any]:
    """Put together the values of a spec; what is set wins over the file.

    Args:
        file: YAML or JSON mapping of the spec's fields, or None.
        sets: ``key=value`` each; a dotted key reaches into a field (``recipe.epochs=5``), a value
            is a YAML scalar or list. ``recipe=NAME`` beside ``recipe.FIELD=VALUE`` means that
            recipe with that change, in any order.

    Raises:
        SubmissionError: The file or one of `sets` cannot be read.
    """
    changes: dict[str, Any] = {}
    for text in sets:
        key, equals, value = text.partition("=")
        path = key.strip().split(".")
        if not equals or not all(path):
            raise SubmissionError(
                f"cannot read --set {text!r}; expected key=value, such as data=digits "
                "or recipe.epochs=5"
            )
        _put(changes, path, value=read_scalar(value.strip()))
    return _overlay(_read_file(file) if file else {}, changes)


def read_scalar(text: str) -> Any:
    """Read a value as YAML does, except that ``1e-3`` is a number and a date stays text.

    Args:
        text: As typed, such as ``5``, ``0.1``, ``true``, ``[30, 60]``, ``digits``.
    """
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    if isinstance(value, str):
        return _as_number(value)
    is_sentence = isinstance(value, dict) and not text.startswith("{")  # such as "a: b"
    return text if is_sentence or not _is_plain(value) else value


def _as_number(text: str) -> str | float:
    if "e" not in text.lower():
        return text
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _is_plain(value: object) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True


def _put(values: dict[str, Any], path: Sequence[str], *, value: Any) -> None:
    """Set a dotted key among `values`."""
    head, rest = path[0], path[1:]
    present = values.get(head)
    if not rest:
        changed = head == RECIPE and isinstance(present, dict) and isinstance(value, str)
        values[head] = {**(present or {}), BASE: value} if changed else value
        return
    inner = {} if present is None else present
    if isinstance(inner, str) and head == RECIPE:
        inner = {BASE: inner}
    if not isinstance(inner, dict):
        raise SubmissionError(f"--set {head} is {inner!r}, which has no field {'.'.join(rest)!r}")
    _put(inner, rest, value=value)
    values[head] = inner


def _overlay(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with `changes` on top; a mapping without a base goes into the present one."""
    merged = dict(values)
    for key, change in changes.items():
        present = merged.get(key)
        if isinstance(present, str) and key == RECIPE:
            present = {BASE: present}
        if isinstance(change, dict) and isinstance(present, dict) and BASE not in change:
            merged[key] = _overlay(present, change)
        else:
            merged[key] = change
    return merged


def _read_file(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SubmissionError(f"cannot read spec file {file}: {error}") from error
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SubmissionError(f"spec file {file} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise SubmissionError(
            f"spec file {file} holds {type(values).__name__}; expected a mapping of fields, "
            "such as backbone, data, recipe"
        )
    return values


def read_numbers(text: str) -> tuple[int, ...]:
    """Read ``0,1,2`` or ``0-4``; an empty text holds none.

    Raises:
        SubmissionError: It is neither, or names more than NUMBERS_MOST.
    """
    numbers: list[int] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise SubmissionError(f"cannot read seeds {text!r}; expected such as 0,1,2 or 0-4")
        span = range(int(first), int(last or first) + 1)
        if not span:
            raise SubmissionError(f"seeds {part!r} run backwards; write {last}-{first}")
        if len(numbers) + len(span) > NUMBERS_MOST:
            raise SubmissionError(
                f"seeds {text!r} are more than {NUMBERS_MOST:,}; submit them in parts"
            )
        numbers.extend(span)
    if text and not numbers:
        raise SubmissionError(f"seeds {text!r} name none; expected such as 0,1,2 or 0-4")
    return tuple(numbers)
