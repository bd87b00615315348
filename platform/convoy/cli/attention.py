"""``platform attention``: what a checkpoint's network weighs its kernels with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convoy.cli import invocation, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backbones.attention_map import Axis, Map


def attention(
    ctx: typer.Context,
    run_id: Annotated[int, typer.Argument(metavar="RUN", help="Number of the run.")],
    *,
    image: Annotated[
        list[Path] | None, typer.Option(help="An image file; may be given several times.")
    ] = None,
    count: Annotated[
        int, typer.Option(min=1, help="Without --image: so many images that the run is scored on.")
    ] = 16,
    class_name: Annotated[
        str, typer.Option("--class", help="Without --image: only images of this class.")
    ] = "",
    step: Annotated[
        int | None, typer.Option(help="Step of the checkpoint; the last one's if not said.")
    ] = None,
    as_scored: Annotated[
        bool,
        typer.Option("--as-scored", help="With temperatures as they stood then; else as they end."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, matrices included.")] = False,
) -> None:
    """Show images to a checkpoint's network: which kernels do its layers draw on?"""
    from convoy import inspection
    from jobs.data.picture import read_pictures

    call = invocation.of(ctx)
    settings = call.settings()
    with call.store() as store:
        run = store.run(run_id)
        checkpoints = store.checkpoints(run_id)
    inspection.require_attention(run)
    checkpoint = inspection.choose_checkpoint(checkpoints, run_id=run_id, step=step)
    pictures = read_pictures(image or ()) or inspection.scored_pictures(
        run, settings, count=count, class_name=class_name
    )
    seen = inspection.attend(run, checkpoint, pictures, settings=settings, as_scored=as_scored)
    if as_json:
        say.answer(
            {
                "run": run_id,
                "step": checkpoint.step,
                "images": [picture.name for picture in pictures],
                "maps": [_object(one) for one in seen.maps],
            }
        )
        return
    _print(seen.maps, caption=f"step {checkpoint.step:,}, {len(pictures)} images")
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
