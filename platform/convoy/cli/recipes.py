"""``platform recipes``: the training protocols that have a name."""

from __future__ import annotations

from typing import Annotated

import typer

from convoy.cli import say


def recipes(
    text: Annotated[str, typer.Argument(help="Only those with this in name or description.")] = "",
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the recipes; one that is named exactly, with all its values."""
    from convoy.terminal import tables
    from jobs import recipes as registry

    kinds = {
        name: kind for kind, model in registry.MODELS.items() for name in registry.names(model)
    }
    known = sorted(kinds)
    wanted = [name for name in known if text.lower() in f"{name} {registry.summary(name)}".lower()]
    found = [text] if text in known else wanted
    if as_json:
        recipes = [registry.get(name, registry.TrainingRecipe) for name in found]
        say.answer([{"kind": kinds[one.name], **one.model_dump(mode="json")} for one in recipes])
    elif len(found) == 1:
        recipe = registry.get(found[0], registry.TrainingRecipe)
        say.line(f"{found[0]} (to {kinds[found[0]]}): {registry.summary(found[0])}")
        meanings = type(recipe).model_fields
        lines = [
            (key, str(value), meanings[key].description or "")
            for key, value in recipe.model_dump(mode="json").items()
        ]
        tables.put(tables.grid(("value", "is", "meaning"), lines, keep=("value", "is")))
    elif found:
        rows = [(name, kinds[name], registry.summary(name)) for name in found]
        caption = f"{len(found)} of {len(known)} recipes"
        tables.put(
            tables.grid(
                ("recipe", "to", "description"), rows, keep=("recipe", "to"), caption=caption
            )
        )
    else:
        say.line(f"no recipe has {text!r} in name or description; known: {', '.join(known)}")
    shown = (found or known)[0]
    say.hint(
        f"platform recipes {shown}",
        f"platform submit {kinds[shown]} <backbone> --set data=<folder> --set recipe={shown}",
    )
