"""The parts of ``platform`` put together, and the options that all commands share."""

from __future__ import annotations

import atexit
import gc
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from convoy.cli import (
    attention,
    cancel,
    dashboard,
    data,
    db,
    demo,
    describe,
    detections,
    dispatch,
    doctor,
    export,
    features,
    init,
    leaderboard,
    logs,
    methods,
    networks,
    recipes,
    retry,
    runs,
    show,
    studies,
    submit,
    up,
    wait,
)
from convoy.cli.guard import Guarded
from convoy.cli.invocation import Invocation

START, RUNS, RESULTS, SERVICE = "Start", "Runs", "Knowledge and results", "Service"

app = typer.Typer(
    name="platform",
    cls=Guarded,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="First steps: platform init, then platform up, then platform submit classify "
    "resnet18/conv resnet18/eca --set data=digits --set recipe=digits_quick",
)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(version("convoy"))
        raise typer.Exit


def _collect_little() -> None:
    """Spare a short command the search for garbage: a third of the CPU time of ``platform runs``.

    Imports make many objects and nearly all of them stay; at the very end the process gives all
    back at once anyway. Libraries that count their objects at the end (torch's) are let do it.
    """
    gc.set_threshold(50_000)
    atexit.register(lambda: None if "torch" in sys.modules else gc.freeze())


@app.callback()
def start(
    ctx: typer.Context,
    *,
    home: Annotated[
        Path | None,
        typer.Option(
            envvar="CONVOY_HOME",
            help="Folder of this installation's state; else the nearest .convoy, else ~/.convoy.",
        ),
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="CONVOY_DEBUG", help="Show tracebacks.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Train and measure vision backbones whose convolutions a published method replaced."""
    del version  # acted on by its callback
    _collect_little()
    logging.basicConfig(
        level=logging.INFO if debug else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    ctx.obj = Invocation(home=home, debug=debug)


for panel, commands in {
    START: (demo.demo, init.init, doctor.doctor, up.up),
    RUNS: (
        submit.submit,
        runs.runs,
        show.show,
        logs.logs,
        wait.wait,
        cancel.cancel,
        retry.retry,
    ),
    RESULTS: (
        leaderboard.leaderboard,
        data.data,
        studies.studies,
        recipes.recipes,
        describe.describe,
        attention.attention,
        features.features,
        detections.detections,
        export.export,
        methods.methods,
        networks.networks,
    ),
    SERVICE: (dispatch.dispatch, dashboard.dashboard),
}.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.add_typer(db.app, name="db", rich_help_panel=SERVICE)
