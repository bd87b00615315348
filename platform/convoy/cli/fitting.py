"""Whether a file of weights fits backbones: the answer of ``platform describe --weights``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from backbones.errors import WeightsError
from convoy.cli import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backbones.resolve import Resolved
    from backbones.weights import Fit


def answer(
    backbones: Sequence[Resolved],
    file: Path,
    *,
    image_size: int | None,
    classes: int,
    as_json: bool,
) -> None:
    """Print for each backbone what the file is, or all that does not fit.

    Raises:
        typer.Exit: Status 1, once all is printed, if it does not fit one of them.
    """
    found = [_fit(one, file, image_size=image_size, classes=classes) for one in backbones]
    if as_json:
        say.answer([_object(text, fit) for text, fit in zip(backbones, found, strict=True)])
    else:
        for text, fit in zip(backbones, found, strict=True):
            _print(str(text), fit, file)
    if any(isinstance(fit, WeightsError) for fit in found):
        raise typer.Exit(1)


def _fit(
    backbone: Resolved, file: Path, *, image_size: int | None, classes: int
) -> Fit | WeightsError:
    from backbones import weights
    from backbones.build import build
    from backbones.network import usual_image_size

    size = image_size or usual_image_size(backbone.network, backbone.options)
    network = build(backbone, classes=classes, image_size=size, device="meta")
    try:
        return weights.recognise(network, file, backbone=backbone)
    except WeightsError as error:
        return error


def _print(text: str, fit: Fit | WeightsError, file: Path) -> None:
    if not isinstance(fit, WeightsError):
        say.line(f"{text}: {fit}")
        say.hint(f"platform submit classify '{text}' --set initial={file} --dry-run")
        return
    for what in _KINDS:
        for name in getattr(fit, what):
            say.line(f"{what:10} {name}")
    say.note(f"error: {fit}")


_KINDS = ("missing", "unexpected", "misshapen")


def _object(text: Resolved, fit: Fit | WeightsError) -> dict[str, Any]:
    if isinstance(fit, WeightsError):
        lists = {what: getattr(fit, what) for what in _KINDS}
        return {"backbone": str(text), "fits": False, "error": str(fit), **lists}
    return {**dataclasses.asdict(fit), "backbone": str(text), "fits": True}
