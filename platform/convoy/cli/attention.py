"""``platform attention``: what a checkpoint's network weighs kernels, channels, branches with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from convoy.cli import say, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backbones.attention_map import Axis, Map


def attention(
    ctx: typer.Context,
    run_id: shown.RunId,
    *,
    image: shown.Images = None,
    count: shown.Count = shown.MANY,
    class_name: shown.ClassName = "",
    step: shown.Step = None,
    as_scored: Annotated[
        bool,
        typer.Option("--as-scored", help="With temperatures as they stood then; else as they end."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, matrices included.")] = False,
) -> None:
    """Show images to a checkpoint's network: which kernels, channels or branches does it favour?"""
    from convoy import inspection

    what = shown.choose(
        ctx,
        run_id,
        require=inspection.require_attention,
        step=step,
        images=image,
        count=count,
        class_name=class_name,
    )
    seen = inspection.attend(
        what.run, what.checkpoint, what.pictures, settings=what.settings, as_scored=as_scored
    )
    if as_json:
        say.answer(
            {
                "run": run_id,
                "step": what.checkpoint.step,
                "images": [picture.name for picture in what.pictures],
                "maps": [_object(one) for one in seen.maps],
            }
        )
        return
    _print(seen.maps, caption=what.caption)
    say.hint(f"platform attention {run_id} --json", "platform dashboard")


def _print(maps: Sequence[Map], *, caption: str) -> None:
    from convoy.terminal import tables

    headings = ("of", "weights", "rows x columns", "mean |w|", "largest |w|", "over images ±")
    rows = [
        (
            one.group,
            ", ".join(filter(None, (one.title, one.note))),
            "{} x {}".format(*one.values.shape),
            f"{abs(one.values).mean():.4f}",
            f"{abs(one.values).max():.4f}",
            "" if one.spread is None else f"{one.spread.mean():.4f}",
        )
        for one in maps
    ]
    tables.put(tables.grid(headings, rows, right=headings[2:], keep=headings[2:], caption=caption))


def _object(one: Map) -> dict[str, Any]:
    return {
        "of": one.group,
        "weights": one.title,
        "note": one.note,
        "rows": _axis(one.rows),
        "columns": _axis(one.columns),
        "values": one.values.tolist(),
        "spread": None if one.spread is None else one.spread.tolist(),
    }


def _axis(axis: Axis) -> dict[str, Any]:
    sections = [{"name": part.name, "length": part.length} for part in axis.sections]
    return {"label": axis.label, "sections": sections}
