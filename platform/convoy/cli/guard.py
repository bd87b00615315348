"""The outermost edge of every command: errors become one line on stderr and an exit status."""

from __future__ import annotations

import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from backbones.errors import BackboneError
from convoy.cli.say import note
from convoy.errors import ConvoyError
from jobs.errors import JobError

REFUSALS = (ConvoyError, JobError, BackboneError)


class Guarded(TyperGroup):
    """Turns our errors into ``error: ...`` and status 1; usage errors stay Typer's, status 2."""

    def invoke(self, ctx: Any) -> Any:  # typer.Context, whose base class Typer does not name
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except REFUSALS as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            note(f"error: {error}")
            raise typer.Exit(1) from error
        except Exception as error:
            if ctx.params.get("debug") or _is_typers(error):
                raise
            note(_one_line(error, home=ctx.params.get("home")))
            raise typer.Exit(1) from error


def _is_typers(error: Exception) -> bool:
    """Tell what Typer ends well itself: exits, wrong command lines, a pipe that was closed."""
    return hasattr(error, "exit_code") or isinstance(error, (typer.Abort, BrokenPipeError))


def _one_line(error: Exception, *, home: Path | None) -> str:
    kept = _keep_details(error, folder=home)
    first = (str(error).strip() or "no message").splitlines()[0]
    where = f"details are in {kept}; " if kept else ""
    return (
        f"error: unexpected {type(error).__name__}: {first}\n"
        f"       this is a fault of the platform; {where}--debug shows them at once"
    )


def _keep_details(error: Exception, *, folder: Path | None) -> Path | None:
    place = folder if folder and folder.is_dir() else Path(tempfile.gettempdir())
    kept = place / f"error-{datetime.now(UTC):%Y%m%dT%H%M%S}.txt"
    try:
        kept.write_text("".join(traceback.format_exception(error)), "utf-8")
    except OSError:
        return None
    return kept
