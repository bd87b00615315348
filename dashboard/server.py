"""Starts the dashboard: ``python -m dashboard.server --home .convoy --port 8501``."""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dashboard import palette

APP = Path(__file__).with_name("app.py")

_OPTIONS = {
    "server.address": "127.0.0.1",
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.runOnSave": "false",
    "browser.gatherUsageStats": "false",
    "browser.serverAddress": "127.0.0.1",
    "client.toolbarMode": "minimal",
    "client.showErrorLinks": "false",
    "theme.paddingTop": "1.5rem",
    "theme.paddingBottom": "3rem",
    "theme.headingFontSizes": '["2rem", "1.75rem", "1.35rem"]',
    "theme.metricValueFontSize": "1.6rem",
    "theme.light.primaryColor": palette.PRIMARY_LIGHT,
    "theme.dark.primaryColor": palette.PRIMARY_DARK,
}
"""On the command line, where no file of the user's undoes them: loopback only, no telemetry."""


def command(*, home: Path, port: int) -> list[str]:
    """Return the command that serves the dashboard.

    Args:
        home: Folder of the installation; the server gets it as ``CONVOY_HOME`` from `main`.
        port: Port on loopback, 1 to 65535.
    """
    return [sys.executable, "-m", "dashboard.server", "--home", str(home), "--port", str(port)]


def streamlit_command(*, port: int) -> list[str]:
    """Return what `main` turns into: Streamlit with our options."""
    options = [f"--{name}={value}" for name, value in _OPTIONS.items()]
    return [
        *(sys.executable, "-m", "streamlit", "run", str(APP)),
        *(f"--server.port={port}", *options),
    ]


@contextmanager
def serving(home: Path, *, log: Path, timeout_s: float = 60.0) -> Iterator[str]:
    """Serve the dashboard on a free port for as long as the block lasts.

    Args:
        home: Folder of the installation.
        log: File that gets what the server prints.
        timeout_s: How long it may take to answer.

    Yields:
        Its address, such as ``http://127.0.0.1:40123``.

    Raises:
        RuntimeError: It ended or did not answer in time; the end of its log is told.
    """
    port = _free_port()
    address = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command(home=home, port=port), stdout=output, stderr=subprocess.STDOUT
        )
        try:
            _wait(server, address, log=log, timeout_s=timeout_s)
            yield address
        finally:
            server.terminate()
            server.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: subprocess.Popen[bytes], address: str, *, log: Path, timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while server.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"the dashboard did not answer; it said: {log.read_text('utf-8')[-2000:]}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Become the Streamlit server."""
    parser = argparse.ArgumentParser(prog="dashboard.server", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder of the installation")
    parser.add_argument("--port", type=int, required=True, help="port on loopback")
    chosen = parser.parse_args(arguments)
    words = streamlit_command(port=chosen.port)
    os.execve(words[0], words, {**os.environ, "CONVOY_HOME": str(chosen.home.absolute())})


if __name__ == "__main__":
    main()
