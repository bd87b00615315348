"""``platform dispatch``: starts what waits."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from convoy.cli import invocation, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convoy.launchers import Launcher
    from convoy.records import Run
    from convoy.settings import Settings
    from convoy.store import Store

NEXT = 5
"""How many of the waiting runs are shown."""


class Where(StrEnum):
    """Where attempts run."""

    RAY = "ray"
    """On the Ray cluster of the settings."""
    INLINE = "inline"
    """In this very process, one after the other."""


def dispatch(
    ctx: typer.Context,
    *,
    launcher: Annotated[
        Where, typer.Option(help="ray, or inline: in this process, for debugging.")
    ] = Where.RAY,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="End when nothing runs and nothing can start.")
    ] = False,
) -> None:
    """Start waiting runs and look after those that run, until Ctrl-C.

    Several dispatchers may run; one leads, the others stand by. Ending one loses nothing.
    """
    from convoy.dispatcher import Dispatcher

    call = invocation.of(ctx)
    settings = call.settings()
    with call.store() as store, _launching(launcher, settings, store) as opened:
        dispatcher = Dispatcher(store, opened, settings)
        try:
            with _asked_to_end() as asked, _progress(store) as show:

                def stop() -> bool:
                    show()
                    return asked()

                dispatcher.run(until_idle=until_idle, stop=stop)
                show()
        finally:
            dispatcher.close()
    say.hint("platform runs", "platform leaderboard")


@contextmanager
def _launching(where: Where, settings: Settings, store: Store) -> Iterator[Launcher]:
    opened = _launcher(where, settings, store)
    try:
        yield opened
    finally:
        opened.close()


def _launcher(where: Where, settings: Settings, store: Store) -> Launcher:
    if where is Where.INLINE:
        from convoy.launchers.inline import InlineLauncher

        return InlineLauncher(cpus=settings.cpus)
    from convoy.launchers.cluster import ClusterLauncher

    return ClusterLauncher(settings, store_id=store.id)


@contextmanager
def _asked_to_end() -> Iterator[Callable[[], bool]]:
    """Give what tells whether Ctrl-C or SIGTERM came; a second one breaks off at once."""
    asked: list[int] = []

    def take_note(number: int, _: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        say.note("ending; once more breaks off at once")

    wanted = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, take_note) for number in wanted}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(store: Store) -> Iterator[Callable[[], None]]:
    """Give a function that shows what goes on and comes next, and what has ended once more."""
    from convoy.errors import StoreAwayError
    from convoy.records import Filter
    from convoy.states import RunState
    from convoy.terminal.progress import showing

    living = Filter(states=(RunState.RUNNING,))
    ids: set[int] = set()

    def going() -> Sequence[Run]:
        ids.update(run.id for run in (*store.runs(living), *store.pending(limit=NEXT)))
        return store.runs(Filter(ids=sorted(ids)))[::-1] if ids else []

    with showing() as look:

        def show() -> None:
            try:
                runs = going()
            except StoreAwayError:
                return  # the dispatcher says so itself
            if runs:
                look(runs)
            ids.difference_update(run.id for run in runs if run.state.is_final)

        yield show
