from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from convoy import service
from convoy.errors import LaunchError
from convoy.service import Child

PATIENT = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: exit(0)); time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def python(name: str, code: str, *, log: Path | None = None) -> Child:
    return Child(name, [sys.executable, "-c", code], log)


def test_the_first_to_end_ends_the_others_and_is_named() -> None:
    children = [python("patient", PATIENT), python("brief", "exit(3)")]
    assert service.keep(children) == ("brief", 3)


def test_what_was_waited_for_ends_them_all() -> None:
    assert service.keep([python("patient", PATIENT)], until=lambda: True) == ("", 0)


def test_output_goes_into_the_log(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    service.keep([python("brief", "print('here')", log=log)])
    assert log.read_text() == "here\n"


def test_what_cannot_be_started_is_named_and_the_others_end() -> None:
    began = time.monotonic()
    with pytest.raises(LaunchError, match="cannot start the other"):
        service.keep([python("patient", PATIENT), Child("other", ["/no/such/program"])])
    assert time.monotonic() - began < service.GRACE_S / 2


def test_signals_are_handed_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    service.keep([python("brief", "")])
    assert signal.getsignal(signal.SIGINT) is before


KEEPER = """
import os, sys
from convoy import service
child = service.Child("child", [sys.executable, "-c", sys.argv[1]])
service.GRACE_S = float(sys.argv[2])
print(os.getpid(), flush=True)
print(service.keep([child]), flush=True)
"""


def keeper(code: str, *, grace_s: float = 30.0) -> subprocess.Popen[str]:
    code = f"print('up', flush=True); {code}"
    started = subprocess.Popen(
        [sys.executable, "-c", KEEPER, code, str(grace_s)], stdout=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    assert {started.stdout.readline(), started.stdout.readline()} == {f"{started.pid}\n", "up\n"}
    return started


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_children_well(number: signal.Signals) -> None:
    # It may come before the child's own handler stands, so this child keeps Python's.
    running = keeper("import time; time.sleep(600)")
    running.send_signal(number)
    out, _ = running.communicate(timeout=30)
    assert out == "('', 0)\n"
    assert running.returncode == 0


def test_who_does_not_end_in_time_is_killed_with_its_own_children() -> None:
    code = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {DEAF!r}]); "
    code += f"print(p.pid, flush=True); {DEAF}"
    running = keeper(code, grace_s=0.5)
    assert running.stdout is not None
    grandchild = int(running.stdout.readline())
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=30)
    deadline = time.monotonic() + 10
    while _lives(grandchild) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _lives(grandchild)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_port_that_is_taken_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind((service.LOOPBACK, 0))
        port = taken.getsockname()[1]
        service.refuse_taken(port)
        taken.listen()
        with pytest.raises(LaunchError, match=f"port {port} is in use"):
            service.refuse_taken(port)
        assert service.answers(port)
    assert not service.answers(port)


def test_meanwhile_is_used() -> None:
    seen = threading.Event()
    service.keep([python("brief", "import time; time.sleep(0.5)")], tick=seen.set)
    assert seen.is_set()
