"""``platform logs``: what a run printed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from convoy.cli import invocation, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from convoy.records import LogPiece
    from convoy.store import Store

POLL_S = 0.5


def logs(
    ctx: typer.Context,
    run_id: Annotated[int, typer.Argument(metavar="RUN", help="Number of the run.")],
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")
    ] = False,
    rank: Annotated[int | None, typer.Option(min=0, help="Only this worker's lines.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the pieces as JSON.")] = False,
) -> None:
    """Print the log of a run, of all its attempts and workers."""
    with invocation.of(ctx).store() as store:
        run = store.run(run_id)
        pieces = _follow(store, run_id) if follow else _read(store, run_id, after=0)
        wanted = (piece for piece in pieces if rank is None or piece.rank == rank)
        if as_json:
            say.answer(list(wanted))
            return
        printed = _print(wanted, prefix_ranks=run.resources.workers > 1 and rank is None)
        if not printed:
            say.note(f"run {run_id} has logged nothing yet ({run.state})")
    say.hint(f"platform show {run_id}")


def _print(pieces: Iterator[LogPiece], *, prefix_ranks: bool) -> int:
    attempt = count = 0
    for piece in pieces:
        if piece.attempt != attempt:
            attempt = piece.attempt
            say.note(f"-- attempt {attempt} --")
        for text in piece.text.splitlines():
            say.line(f"[{piece.rank}] {text}" if prefix_ranks else text)
        count += 1
    return count


def _read(store: Store, run_id: int, *, after: int) -> Iterator[LogPiece]:
    while pieces := store.log(run_id, after=after):
        yield from pieces
        after = pieces[-1].cursor


def _follow(store: Store, run_id: int) -> Iterator[LogPiece]:
    """Read on until the run has ended; what was logged before its end is never missed."""
    from convoy.errors import StoreAwayError

    after = 0
    while True:
        try:
            ended = store.run(run_id).state.is_final
            for piece in _read(store, run_id, after=after):
                after = piece.cursor
                yield piece
        except StoreAwayError as error:
            say.note(f"waiting for the store: {error}")
            ended = False
        if ended:
            return
        time.sleep(POLL_S)
