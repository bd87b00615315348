"""``platform features``: how much the feature maps of a checkpoint's network repeat each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from convoy.cli import say, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backbones.feature_maps import FeatureMaps
    from backbones.redundancy import Measure, Redundancy

_PAIRS = 3


def features(
    ctx: typer.Context,
    run_id: shown.RunId,
    *,
    image: shown.Images = None,
    count: shown.Count = shown.MANY,
    class_name: shown.ClassName = "",
    step: shown.Step = None,
    stage: Annotated[
        int | None,
        typer.Option(help="Blocks of this stage, from 0; else the last block of each stage."),
    ] = None,
    block: Annotated[int | None, typer.Option(help="Only this block of the stage, from 0.")] = None,
    correlation: Annotated[
        bool,
        typer.Option("--correlation", help="Compare by Pearson's correlation, not by the cosine."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, channels (and for a block the matrix) too.")
    ] = False,
) -> None:
    """Show images to a checkpoint's network: how alike are the maps of its blocks?"""
    from backbones.redundancy import Measure
    from convoy import inspection

    if block is not None and stage is None:
        raise typer.BadParameter("needs --stage N, too", param_hint="--block")
    what = shown.choose(
        ctx,
        run_id,
        require=inspection.require_maps,
        step=step,
        images=image,
        count=count,
        class_name=class_name,
    )
    seen = _look(what, stage=stage, block=block)
    measure = Measure.CORRELATION if correlation else Measure.COSINE
    if as_json:
        say.answer(
            {
                "run": run_id,
                "step": what.checkpoint.step,
                "images": [picture.name for picture in what.pictures],
                "measure": measure.value,
                "blocks": [_object(one, measure, whole=block is not None) for one in seen],
            }
        )
        return
    _print(seen, measure, caption=what.caption)
    say.hint(f"platform features {run_id} --stage {seen[-1].place.stage}", "platform dashboard")


def _look(what: shown.Shown, *, stage: int | None, block: int | None) -> list[FeatureMaps]:
    from backbones import feature_maps
    from convoy import inspection

    subject = inspection.open_network(
        what.run, what.checkpoint, what.pictures, settings=what.settings
    )
    found = feature_maps.places(
        what.run.backbone, image_size=subject.images.shape[-1], classes=subject.classes
    )
    wanted = feature_maps.choose(found, stage=stage, block=block)
    return feature_maps.look(subject.network, subject.images, wanted)


def _print(seen: Sequence[FeatureMaps], measure: Measure, *, caption: str) -> None:
    from backbones.redundancy import ALIKE, redundancy
    from convoy.terminal import tables

    headings = ("stage", "block", "module", "maps", "dead", "repeated", "nearest", "most alike")
    rows = []
    for one in seen:
        alike = redundancy(one.statistics, measure=measure, pairs=_PAIRS)
        rows.append(
            (
                str(one.place.stage),
                str(one.place.block),
                one.place.name,
                "{} of {}x{}".format(one.channels, *one.size),
                str(one.channels - alike.living),
                "" if alike.repeated_pct is None else f"{alike.repeated_pct:.1f} %",
                "" if alike.mean_nearest is None else f"{alike.mean_nearest:.3f}",
                _pairs_text(alike),
            )
        )
    right = ("stage", "block", "maps", "dead", "repeated", "nearest")
    tables.put(tables.grid(headings, rows, right=right, keep=headings[:-1], caption=caption))
    say.note(
        f"repeated: maps whose nearest other map has a |{measure}| of at least {ALIKE}; nearest: "
        f"mean |{measure}| to the nearest other map; a dead map is the same everywhere and left out"
    )


def _pairs_text(alike: Redundancy) -> str:
    return ", ".join(
        f"{pair.first} and {pair.second} ({pair.similarity:.3f})" for pair in alike.pairs
    )


def _object(one: FeatureMaps, measure: Measure, *, whole: bool) -> dict[str, Any]:
    from backbones.redundancy import redundancy

    statistics = one.statistics
    alike = redundancy(statistics, measure=measure)
    channels = zip(
        statistics.mean, statistics.zeros_pct, statistics.norm, alike.nearest, strict=True
    )
    height, width = one.size
    told: dict[str, Any] = {
        "stage": one.place.stage,
        "block": one.place.block,
        "module": one.place.name,
        "maps": one.channels,
        "height": height,
        "width": width,
        "dead": statistics.dead.nonzero()[0].tolist(),
        "repeated_pct": alike.repeated_pct,
        "mean_nearest": alike.mean_nearest,
        "pairs": list(alike.pairs),
        "channels": [
            {
                "mean": float(mean),
                "zeros_pct": float(zeros_pct),
                "norm": float(norm),
                "nearest": int(nearest) if nearest >= 0 else None,
            }
            for mean, zeros_pct, norm, nearest in channels
        ],
    }
    if whole:
        told["similarity"] = statistics.similarities[measure].tolist()
    return told
