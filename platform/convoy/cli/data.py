"""``platform data``: what a run would find in a data set, before one is submitted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from convoy.cli import invocation, say

if TYPE_CHECKING:
    from jobs.data.inspection import Inspection

_CLASSES_SHOWN = 20


def data(
    ctx: typer.Context,
    reference: Annotated[
        str, typer.Argument(help="A folder as runs take it, or the name of an embedded set.")
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Read every image and annotation as a run does before it starts, and say what is wrong.

    Status 1: a run would refuse the data unless it is told to go on. What was read is remembered:
    runs on this machine do not read it again.
    """
    from jobs.data import source
    from jobs.data.inspection import inspect

    settings = invocation.of(ctx).settings()
    found = inspect(
        source.canonical(reference),
        cache=settings.cache or settings.home / "cache",
        threads=2 * (os.cpu_count() or 1),
        status=say.note,
    )
    if as_json:
        say.answer(found)
    else:
        _print(found)
    if found.refusal:
        raise typer.Exit(1)
    if not as_json:
        say.hint(f"platform submit {found.task} <backbone> --set data={reference} --set recipe=...")


def _print(found: Inspection) -> None:
    shown = ", ".join(found.classes[:_CLASSES_SHOWN])
    more = ", ..." if len(found.classes) > _CLASSES_SHOWN else ""
    say.line(f"to {found.task}; fingerprint {found.fingerprint}")
    say.line(", ".join(f"{number:,} {what}" for what, number in found.counts.items()))
    say.line(f"{len(found.classes)} classes: {shown}{more}")
    for fault in found.faults:
        say.line(f"  {fault}")
    say.line(found.refusal or "nothing is in the way of a run")
