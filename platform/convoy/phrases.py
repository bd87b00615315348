"""Amounts in words, for reasons that people read."""

from __future__ import annotations


def ordinal(number: int) -> str:
    """Return ``1st``, ``2nd``, ``3rd``, ``11th``, ... of a positive number."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def duration(seconds: float) -> str:
    """Return a time that changes rarely enough to be written down: ``20 s``, ``about 3 min``."""
    if seconds < 90:
        return f"{max(0, round(seconds / 10)) * 10 or 5} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"


def count(number: float, thing: str) -> str:
    """Return ``1 core``, ``2 cores``, ``0.5 cores``."""
    return f"{number:g} {thing}" if number == 1 else f"{number:g} {thing}s"
