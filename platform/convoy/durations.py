"""Spans of time in the few characters that a table has."""

from __future__ import annotations

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def span_text(seconds: float) -> str:
    """Return ``12 s``, ``5 min``, ``2 h 10 min``, ``3 d 4 h``.

    Args:
        seconds: How long; below zero counts as zero.
    """
    left = max(0, round(seconds))
    if left < 60:
        return f"{left} s"
    for index, (unit, length) in enumerate(_UNITS):
        if left >= length:
            rest = ""
            if index + 1 < len(_UNITS):
                next_unit, next_length = _UNITS[index + 1]
                if count := left % length // next_length:
                    rest = f" {count} {next_unit}"
            return f"{left // length} {unit}{rest}"
    return f"{left} s"
