"""``platform methods``: which convolutions there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from convoy.cli import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backbones.method import Method


def methods(
    text: Annotated[str, typer.Argument(help="Only those with this in name or title.")] = "",
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the methods with their papers; one that is named exactly, with all its settings."""
    from backbones import method as registry
    from backbones.errors import near

    known = {name: registry.get(name) for name in registry.modules()}
    found = {text: known[text]} if text in known else _matching(known, text)
    if as_json:
        say.answer([_object(name, method) for name, method in found.items()])
        return
    if not found:
        say.line(f"no method has {text!r} in its name or title; {near(text, known)}")
    elif len(found) == 1:
        _print_one(*next(iter(found.items())))
    else:
        _print(found, total=len(known))
    shown = next((name for name in found if name != "conv"), "eca")
    say.hint(f"platform describe resnet18/{shown} resnet18/conv", f"platform methods {shown}")


def _matching(known: Mapping[str, Method], text: str) -> dict[str, Method]:
    return {
        name: method
        for name, method in known.items()
        if text.lower() in f"{name} {method.title} {method.family}".lower()
    }


def _print(found: Mapping[str, Method], *, total: int) -> None:
    from convoy.terminal import tables

    rows = [
        (name, method.title, method.family, _paper(method), ", ".join(method.settings.model_fields))
        for name, method in found.items()
    ]
    headings = ("method", "title", "family", "paper", "settings")
    caption = f"{len(found)} of {total} methods"
    tables.put(tables.grid(headings, rows, keep=("method", "family"), caption=caption))


def _print_one(name: str, method: Method) -> None:
    from convoy.terminal import tables

    rows = [
        (setting, str(part.get("default")).lower(), _range(part), part.get("description", ""))
        for setting, part in _settings(method).items()
    ]
    headings = ("setting", "default", "range", "meaning")
    say.line(f"{name}: {method.title} ({method.family}). {_paper(method)}")
    if rows:
        tables.put(tables.grid(headings, rows, keep=("setting", "default")))
    for network, values in method.presets.items():
        say.line(f"on {network}: {', '.join(f'{key}={value}' for key, value in values.items())}")


def _paper(method: Method) -> str:
    return f"{method.venue} (arXiv {method.arxiv})" if method.arxiv else method.venue


def _settings(method: Method) -> dict[str, Any]:
    return dict(method.settings.model_json_schema().get("properties", {}))


def _range(part: Mapping[str, Any]) -> str:
    """Return the limits of a setting from its JSON schema."""
    if options := part.get("anyOf"):
        return " or ".join(_range(option) for option in options).replace("null", "none")
    if words := part.get("enum"):
        return ", ".join(map(str, words))
    limits = (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="))
    signs = (*limits, ("exclusiveMaximum", "<"))
    bounds = " and ".join(f"{sign} {part[key]:g}" for key, sign in signs if key in part)
    return f"{part.get('type', '')} {bounds}".strip()


def _object(name: str, method: Method) -> dict[str, Any]:
    return {
        "name": name,
        "title": method.title,
        "family": method.family,
        "slot": method.slot.value,
        "arxiv": method.arxiv,
        "venue": method.venue,
        "settings": _settings(method),
        "presets": {network: dict(values) for network, values in method.presets.items()},
    }
