"""The command carries real runs out: in its own process, and with everything that `up` starts."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.request import urlopen

import pytest

SMALL = ("--set", "image_size=32", "--set", "classes=10", "--set", "min_repeats=10")
BRIEF = (*SMALL, "--set", "budget_s=0.5")


def test_a_run_goes_from_submission_to_the_leaderboard_in_this_process(command: Any) -> None:
    command("submit", "benchmark", "resnet18(stem=small)/eca", *BRIEF)
    answer = command.apart("dispatch", "--launcher", "inline", "--until-idle")
    assert answer.status == 0, answer.whole
    assert "succeeded" in answer.out
    (row,) = command("leaderboard", "--task", "benchmark", "--json").json()
    assert (row["backbone"], row["rank"]) == ("resnet18(stem=small)/eca", 1)
    assert row["latency"][0]["p50_ms"] > 0


def test_nothing_to_do_ends_at_once(command: Any) -> None:
    answer = command("dispatch", "--launcher", "inline", "--until-idle")
    assert answer.status == 0
    assert "next: platform runs" in answer.err


def test_an_unknown_launcher_is_a_usage_error(command: Any) -> None:
    answer = command("dispatch", "--launcher", "slurm")
    assert answer.status == 2
    assert "inline" in answer.err


def wait_until(true: Callable[[], bool], *, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert process.poll() is None, "platform up ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.ray
def test_up_runs_what_is_submitted_and_ends_all_it_started(command: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (command.home / "up.log").open("wb")
    up = subprocess.Popen(
        [sys.executable, "-m", "convoy", "--home", str(command.home), "up", "--port", str(port)],
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        command("submit", "benchmark", "resnet18(stem=small)/eca", *BRIEF)
        waited = command.apart("wait", "1", "--timeout", "110")
        assert waited.status == 0, (command.home / "up.log").read_text()
        wait_until(lambda: _answers(port), process=up)
        assert command("runs", "--json").json()[0]["state"] == "succeeded"
        children = _descendants(up.pid)
        assert len(children) > 2
        up.send_signal(signal.SIGINT)
        assert up.wait(timeout=60) == 0
        wait_for_end(children)
    finally:
        log.close()
        up.terminate()  # ends what it started, too
        up.wait(timeout=60)


def _answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}", timeout=5) as page:
            return bool(page.status == 200)
    except OSError:
        return False


def _descendants(pid: int) -> list[Any]:
    import psutil

    return list(psutil.Process(pid).children(recursive=True))


def wait_for_end(processes: list[Any]) -> None:
    import psutil

    _, living = psutil.wait_procs(processes, timeout=30)
    assert not [process.name() for process in living]
