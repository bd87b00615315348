"""``platform doctor``: is everything as it should be?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from convoy.cli import invocation, say

if TYPE_CHECKING:
    from convoy.doctor import Finding


def doctor(
    ctx: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look at settings, store, storage, packages, torch, shared memory and Ray.

    Each line says ok, warn or fail, and what to do. Status 1 when something failed.
    """
    from convoy import doctor as surgery
    from convoy.settings import ray_token

    call = invocation.of(ctx)
    findings = []
    for finding in surgery.examine(call.settings, token=ray_token()):
        findings.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        say.answer(findings)
    failed = [finding for finding in findings if finding.level is surgery.Level.FAIL]
    if failed:
        raise typer.Exit(1)
    if not as_json:
        say.hint("platform up", "platform submit classify resnet18/eca --set data=digits ...")


def _print(finding: Finding) -> None:
    colours = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}
    level = typer.style(f"{finding.level:<4}", fg=colours[finding.level], bold=True)
    say.line(f"{level}  {finding.what:<13}  {finding.found}")
    if finding.remedy:
        say.line(f"      {'':<13}  do: {finding.remedy}")
