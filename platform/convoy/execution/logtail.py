"""The end of a growing log file, read in whole lines, bounded in what it sends."""

from __future__ import annotations

from pathlib import Path

PIECE_BYTES = 128 * 1024
"""Most that one piece holds."""
BACKLOG_BYTES = 2 * 1024 * 1024
"""A log that runs further ahead than this loses its middle; the end is what explains."""


class LogTail:
    """Reads what a file gained since the last time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = 0

    def read(self, *, rest: bool = False) -> str:
        """Return whole new lines, each ending in a newline; empty when there are none.

        Args:
            rest: Nothing more will be written: the last, unfinished line counts too.
        """
        try:
            size = self._file.stat().st_size
        except OSError:
            return ""
        note = self._skip_middle(size)
        with self._file.open("rb") as file:
            file.seek(self._offset)
            piece = file.read(PIECE_BYTES)
        if not rest and len(piece) < PIECE_BYTES:
            piece = piece[: piece.rfind(b"\n") + 1]
        self._offset += len(piece)
        return note + _clean(piece.decode("utf-8", "replace"))

    def at_end(self) -> bool:
        """Return whether all of the file has been read."""
        try:
            return self._offset >= self._file.stat().st_size
        except OSError:
            return True

    def _skip_middle(self, size: int) -> str:
        left = size - self._offset
        if left <= BACKLOG_BYTES:
            return ""
        skipped = left - PIECE_BYTES
        self._offset += skipped
        return f"[... {skipped / 2**20:.1f} MiB of log left out: written faster than kept ...]\n"


def _clean(text: str) -> str:
    """Keep of a progress bar its last state, and end in a newline."""
    lines = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n")]
    if lines[-1] == "":
        lines.pop()
    return "".join(f"{line}\n" for line in lines).replace("\0", "")
