"""Processes that a command keeps: started together, ended together, never anyone else's."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from convoy.errors import LaunchError

LOOPBACK = "127.0.0.1"
GRACE_S = 30.0
"""A dispatcher gives its attempts this long to save."""
POLL_S = 0.2


@dataclass(frozen=True)
class Child:
    """A process to keep.

    Attributes:
        name: What messages call it.
        command: Words of the command.
        log: File that gets its output; None: ours.
    """

    name: str
    command: Sequence[str]
    log: Path | None = None


class _Group:
    """The living children, each in a process group of its own so that Ctrl-C reaches us alone."""

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.asked = 0

    def ask(self, number: int, _: FrameType | None) -> None:
        """Take note of a signal; the second one ends the patience."""
        del number
        self.asked += 1

    def start(self, child: Child, output: IO[bytes] | None) -> None:
        try:
            self._processes[child.name] = subprocess.Popen(
                list(child.command), stdout=output, stderr=output, start_new_session=True
            )
        except OSError as error:
            raise LaunchError(f"cannot start the {child.name}: {error}") from error

    def ended(self) -> tuple[str, int] | None:
        """Return name and exit status of one that has ended by itself."""
        for name, process in self._processes.items():
            if (status := process.poll()) is not None:
                return name, status
        return None

    def end(self) -> None:
        """Ask all to end; whoever has not within the grace, or at a second Ctrl-C, is killed."""
        living = [process for process in self._processes.values() if process.poll() is None]
        for process in living:
            process.terminate()
        deadline = time.monotonic() + GRACE_S
        while time.monotonic() < deadline and self.asked < 2:
            if all(process.poll() is not None for process in living):
                return
            time.sleep(POLL_S)
        for process in living:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def keep(
    children: Sequence[Child],
    *,
    tick: Callable[[], None] = lambda: None,
    until: Callable[[], bool] = lambda: False,
    pause_s: float = POLL_S,
) -> tuple[str, int]:
    """Run processes until one ends by itself, or this one is asked to (Ctrl-C, SIGTERM, SIGHUP).

    Args:
        children: What to run. All of them have ended when this returns.
        tick: Called again and again meanwhile.
        until: Asked as often; True ends them all.
        pause_s: Between two times, seconds.

    Returns:
        Name and exit status of the one that ended by itself; an empty name when they were ended.

    Raises:
        LaunchError: One could not be started; the others were ended.
    """
    group = _Group()
    with ExitStack() as stack:
        stack.enter_context(_listening(group))
        stack.callback(group.end)
        for child in children:
            output = stack.enter_context(child.log.open("ab")) if child.log else None
            group.start(child, output)
        while not group.asked and not until():
            if ended := group.ended():
                return ended
            tick()
            time.sleep(pause_s)
    return "", 0


@contextmanager
def _listening(group: _Group) -> Iterator[None]:
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, group.ask) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def dashboard_command(home: Path, *, port: int) -> list[str]:
    """Return the command that serves the dashboard of a home folder on loopback.

    By name, as another process: this package may not import the dashboard.
    """
    words = [sys.executable, "-m", "dashboard.server"]
    return [*words, "--home", str(home), "--port", str(port)]


def dispatch_command(home: Path, *options: str) -> list[str]:
    """Return the command that runs a dispatcher of a home folder."""
    return [sys.executable, "-m", "convoy", "--home", str(home), "dispatch", *options]


def refuse_taken(port: int) -> None:
    """Refuse a port on loopback that somebody listens on.

    Raises:
        LaunchError: Somebody does.
    """
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex((LOOPBACK, port)) == 0:
            raise LaunchError(
                f"port {port} is in use; end what listens there, or choose another with --port "
                "or CONVOY_DASHBOARD_PORT"
            )


def answers(port: int) -> bool:
    """Return whether somebody listens on a port of loopback."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((LOOPBACK, port)) == 0
