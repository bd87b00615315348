"""Several runs while they go on: a live table on a terminal, else lines without long pauses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from convoy import listing
from convoy.durations import span_text
from convoy.records import Run
from convoy.states import RunState
from convoy.terminal import tables

SILENCE_S = 10.0
"""Without a terminal, something is said at least this often."""

_BAR_WIDTH = 16

Look = Callable[[Sequence[Run]], None]


@contextmanager
def showing() -> Iterator[Look]:
    """Give a function that shows runs as they are at each call, on stdout."""
    console = tables.console()
    began = time.monotonic()
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield lambda runs: live.update(
                drawing(runs, elapsed_s=time.monotonic() - began), refresh=True
            )
    else:
        yield _Lines(console, began=began).look


def drawing(runs: Sequence[Run], *, elapsed_s: float) -> RenderableType:
    """Draw a row a run, with a bar, and a line that sums up.

    Args:
        runs: In the order of the rows.
        elapsed_s: Since the first look, seconds.
    """
    table = Table(box=None, pad_edge=False, show_header=False)
    for run in runs:
        table.add_row(
            Text(f"run {run.id}", style="dim"),
            tables.state_text(run.state),
            run.kind,
            Text(run.backbone, no_wrap=True),
            ProgressBar(total=1.0, completed=_share(run), width=_BAR_WIDTH),
            Text(_words(run), no_wrap=True, overflow="ellipsis"),
        )
    return Group(table, Text(_summary(runs, elapsed_s=elapsed_s), style="bold"))


class _Lines:
    """Tells changes of state and phase at once, and how far all are every `SILENCE_S`."""

    def __init__(self, console: Console, *, began: float) -> None:
        self._console = console
        self._began = began
        self._said_at = began
        self._seen: dict[int, tuple[object, ...]] = {}

    def look(self, runs: Sequence[Run]) -> None:
        for run in runs:
            mark = (run.state, run.phase, run.attempt)
            if self._seen.get(run.id, mark) != mark or (run.id not in self._seen and run.attempt):
                self._say(run)
            self._seen[run.id] = mark
        if time.monotonic() - self._said_at >= SILENCE_S:
            for run in runs:
                if run.state is RunState.RUNNING:
                    self._say(run)
            self._print(_summary(runs, elapsed_s=time.monotonic() - self._began))

    def _say(self, run: Run) -> None:
        words = _words(run)
        self._print(
            f"run {run.id} {run.kind} {run.backbone}: {run.state}{', ' if words else ''}{words}"
        )

    def _print(self, text: str) -> None:
        self._said_at = time.monotonic()
        self._console.print(Text(f"{self._said_at - self._began:4.0f} s  {text}"))
        self._console.file.flush()


def _share(run: Run) -> float:
    if run.state is RunState.SUCCEEDED:
        return 1.0
    return run.step / run.total_steps if run.total_steps else 0.0


def _words(run: Run) -> str:
    words = (listing.progress_text(run), listing.score_text(run))
    # what has ended is first of all its score, which must not be cut off
    return "  ".join(filter(None, words[::-1] if run.state.is_final else words))


def _summary(runs: Sequence[Run], *, elapsed_s: float) -> str:
    done = sum(run.state.is_final for run in runs)
    return f"{done} of {len(runs)} runs done, {span_text(elapsed_s)} so far"
