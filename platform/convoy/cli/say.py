"""What a command prints: answers on stdout, everything beside them on stderr."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from convoy.records import Run


def line(text: str = "") -> None:
    """Print a line of the answer."""
    typer.echo(text)


def note(text: str) -> None:
    """Print a line that is not part of the answer."""
    typer.echo(text, err=True)


def hint(*commands: str) -> None:
    """Say what one would type next."""
    if commands:
        typer.secho(f"next: {'  |  '.join(commands)}", err=True, dim=True)


def answer(value: Any) -> None:
    """Print a value as JSON and nothing else."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=plain))


def answer_runs(runs: Iterable[Run]) -> None:
    """Print runs as JSON, without the text of what was changed in the code; `show` has that."""
    answer([{**plain(run), "code": _without_diff(run.code)} for run in runs])


def _without_diff(code: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in code.items() if name != "diff"}


def plain(value: object) -> Any:
    """Turn what the store hands out into what JSON can hold: records, times, paths, mappings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {part.name: getattr(value, part.name) for part in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (Sequence, set, frozenset)):
        return list(value)
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")
