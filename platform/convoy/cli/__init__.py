"""The command ``platform``. Nothing imported here is heavy; each command imports what it needs."""

from convoy.cli.assembly import app

__all__ = ["app"]
