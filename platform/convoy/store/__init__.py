"""The store: the only meeting point of command, dispatchers, attempts and dashboard."""

from convoy.store.store import Store

__all__ = ["Store"]
