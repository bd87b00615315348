"""What every command starts from: the settings of this call, and the store that they name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from convoy.settings import Settings
    from convoy.store import Store


@dataclass(frozen=True)
class Invocation:
    """One call of the command.

    Attributes:
        home: Home folder that was named, or None: looked for.
        debug: Whether tracebacks are shown.
    """

    home: Path | None = None
    debug: bool = False

    def settings(self) -> Settings:
        """Read the settings; SettingsError when they are wrong."""
        from convoy.settings import load

        return load(home=self.home)

    @contextmanager
    def store(self) -> Iterator[Store]:
        """Open the store; StoreError when it cannot be used."""
        from convoy.store import Store

        store = Store.open(self.settings().store_url)
        try:
            yield store
        finally:
            store.close()


def of(ctx: typer.Context) -> Invocation:
    """Return the invocation that a command belongs to."""
    found = ctx.find_object(Invocation)
    return found or Invocation()
