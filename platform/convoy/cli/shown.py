"""Which checkpoint of a run, and which images are shown to its network: for several commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convoy.cli import invocation

if TYPE_CHECKING:
    from convoy.records import Checkpoint, Run
    from convoy.settings import Settings
    from jobs.data.picture import Picture

RunId = Annotated[int, typer.Argument(metavar="RUN", help="Number of the run.")]
Images = Annotated[
    list[Path] | None,
    typer.Option("--image", help="An image file; may be given several times."),
]
Count = Annotated[
    int, typer.Option(min=1, help="Without --image: so many images that the run is scored on.")
]
ClassName = Annotated[
    str, typer.Option("--class", help="Without --image: only images of this class.")
]
Step = Annotated[
    int | None, typer.Option(help="Step of the checkpoint; the last one's if not said.")
]

MANY = 16
"""Images that are shown when nobody says how many."""


@dataclass(frozen=True)
class Shown:
    """What was chosen."""

    run: Run
    checkpoint: Checkpoint
    pictures: Sequence[Picture]
    settings: Settings

    @property
    def caption(self) -> str:
        """Checkpoint and images in words."""
        count = len(self.pictures)
        return f"step {self.checkpoint.step:,}, {count} image{'s' if count > 1 else ''}"


def choose(
    ctx: typer.Context,
    run_id: int,
    *,
    require: Callable[[Run], None],
    step: int | None,
    images: Sequence[Path] | None,
    count: int,
    class_name: str,
) -> Shown:
    """Find the checkpoint and read the images.

    Args:
        ctx: Of the command.
        run_id: Number of the run.
        require: Refuses a run that has nothing to look at, before anything is read.
        step: Of the checkpoint; None: the last one.
        images: Files; None or none: images that the run is scored on.
        count: How many of those.
        class_name: Only of this class; empty: of all.
    """
    from convoy import inspection
    from jobs.data.picture import read_pictures

    call = invocation.of(ctx)
    settings = call.settings()
    with call.store() as store:
        run = store.run(run_id)
        checkpoints = store.checkpoints(run_id)
    require(run)
    checkpoint = inspection.choose_checkpoint(checkpoints, run_id=run_id, step=step)
    pictures = read_pictures(images or ()) or inspection.scored_pictures(
        run, settings, count=count, class_name=class_name
    )
    return Shown(run, checkpoint, pictures, settings)
