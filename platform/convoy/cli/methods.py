"""``platform methods``: which convolutions there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from convoy.cli import say

if TYPE_CHECKING:
    from backbones.method import Method


def methods(
    text: Annotated[str, typer.Argument(help="Only those with this in name or title.")] = "",
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the methods, with their papers and settings."""
    from backbones import method as registry

    known = {name: registry.get(name) for name in registry.modules()}
    found = {
        name: method
        for name, method in known.items()
        if text.lower() in f"{name} {method.title} {method.family}".lower()
    }
    if as_json:
        say.answer([_object(name, method) for name, method in found.items()])
        return
    from convoy import tables

    rows = [
        (
            name,
            method.title,
            method.family,
            f"arXiv {method.arxiv}" if method.arxiv else "",
            method.venue,
            _settings_text(method),
        )
        for name, method in found.items()
    ]
    headings = ("method", "title", "family", "paper", "venue", "settings (default)")
    tables.console().print(
        tables.grid(
            headings, rows, keep=("method",), caption=f"{len(found)} of {len(known)} methods"
        )
    )
    name = next(iter(found), "eca")
    say.hint(f"platform describe resnet18/{name} resnet18/conv", "platform networks resnet")


def _settings_text(method: Method) -> str:
    fields = method.settings.model_fields
    return ", ".join(f"{name}={field.default}" for name, field in fields.items())


def _object(name: str, method: Method) -> dict[str, Any]:
    schema = method.settings.model_json_schema()
    return {
        "name": name,
        "title": method.title,
        "family": method.family,
        "slot": method.slot.value,
        "arxiv": method.arxiv,
        "venue": method.venue,
        "settings": schema.get("properties", {}),
        "presets": {network: dict(values) for network, values in method.presets.items()},
    }
