"""All that an attempt prints and logs goes to one file, from which its keeper sends it on."""

from __future__ import annotations

import faulthandler
import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Facts(logging.Formatter):
    """Shows what a record carries in `extra` behind its constant message."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line: message, then ``name=value`` of each fact."""
        # a leading underscore: what libraries add to every record, such as Ray's time of it
        facts = {
            name: value
            for name, value in vars(record).items()
            if name not in _OWN and not name.startswith("_")
        }
        words = [f"{name}={_short(value)}" for name, value in facts.items()]
        return " ".join([super().formatMessage(record), *words])


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@contextmanager
def captured(file: Path, *, own_process: bool) -> Iterator[None]:
    """Write the output of the block to `file`.

    Args:
        file: Made when missing, else added to.
        own_process: The process belongs to the attempt: what C libraries print is caught as well.
            Else the output of Python goes both to the file and where it went before.
    """
    with ExitStack() as stack:
        log = stack.enter_context(file.open("a", encoding="utf-8", buffering=1))
        if own_process:
            _take_descriptors(log)
            faulthandler.enable(log)
            stack.callback(faulthandler.disable)
            stack.enter_context(redirect_stdout(log))
            stack.enter_context(redirect_stderr(log))
        else:
            stack.enter_context(redirect_stdout(_Tee(log, sys.stdout)))
            stack.enter_context(redirect_stderr(_Tee(log, sys.stderr)))
        stack.enter_context(_logging_to(log, alone=own_process))
        yield


def _take_descriptors(log: TextIO) -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    for number in (1, 2):
        os.dup2(log.fileno(), number)


@contextmanager
def _logging_to(stream: TextIO, *, alone: bool) -> Iterator[None]:
    root = logging.getLogger()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Facts(FORMAT))
    level = root.level
    others = [one for one in root.handlers if alone]  # Ray's workers bring some
    for other in others:
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(min(level or logging.INFO, logging.INFO))
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        for other in others:
            root.addHandler(other)


class _Tee(io.TextIOBase):
    """Writes to two streams."""

    def __init__(self, first: TextIO, second: TextIO) -> None:
        self._streams = (first, second)

    def write(self, text: str) -> int:
        for stream in self._streams:
            stream.write(text)
        return len(text)

    def flush(self) -> None:
        for stream in self._streams:
            stream.flush()

    def writable(self) -> bool:
        return True
