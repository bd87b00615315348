"""The keeper renews, sends the log, presses and buries; here round by round, in this process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from convoy.errors import StoreAwayError
from convoy.execution import keeper as keepers
from convoy.execution.keeper import Charge, Keeper, MemoryWatch
from convoy.execution.logtail import BACKLOG_BYTES, LogTail
from convoy.execution.processes import Watched, end_same, is_same, started_at_s
from convoy.records import Run
from convoy.states import Failure, Outcome, RunState
from convoy.store import Store

SLEEP = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(flush=True)
time.sleep(600)
"""


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does not listen to SIGTERM."""
    process = subprocess.Popen([sys.executable, "-c", SLEEP], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


class Beside:
    """A keeper beside a victim, with an attempt that has begun."""

    def __init__(self, front: Any, folder: Path, pid: int, *, force: bool = True) -> None:
        self.run: Run = front.begin(front.submit())
        self.workdir = folder / "work"
        self.workdir.mkdir()
        self.log = self.workdir / "log.txt"
        self.log.touch()
        charge = Charge(
            store_url=front.settings.store_url,
            run_id=self.run.id,
            number=1,
            rank=0,
            pid=pid,
            log=str(self.log),
            workdir=str(self.workdir),
            lease_s=30.0,
            force=force,
        )
        self.keeper = Keeper(charge, front.store, Watched(pid))


@pytest.fixture
def beside(front: Any, tmp_path: Path, victim: subprocess.Popen[bytes]) -> Beside:
    return Beside(front, tmp_path, victim.pid)


def test_a_round_renews_the_lease_and_sends_whole_lines(
    beside: Beside, store: Store, front: Any
) -> None:
    before = store.attempts(beside.run.id)[0].lease_until
    beside.log.write_text("one\ntw")
    beside.keeper.tick()
    assert store.attempts(beside.run.id)[0].lease_until != before
    assert front.log(beside.run) == "one\n"
    beside.keeper.drain()
    assert front.log(beside.run) == "one\ntw\n"


def test_a_store_that_is_away_costs_no_line(
    beside: Beside, store: Store, front: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise StoreAwayError("the store is away")

    beside.log.write_text("one\n")
    with monkeypatch.context() as patch:
        patch.setattr(store, "append_log", away)
        beside.keeper.tick()
    beside.keeper.tick()
    assert front.log(beside.run) == "one\n"


def test_a_dead_process_is_buried_with_its_last_words(
    beside: Beside, store: Store, front: Any, victim: subprocess.Popen[bytes]
) -> None:
    beside.log.write_text("last words")
    victim.kill()
    victim.wait()
    beside.keeper.bury()
    (attempt,) = store.attempts(beside.run.id)
    assert (attempt.outcome, attempt.failure) == (Outcome.LOST, Failure.PROCESS_DIED)
    assert f"process {victim.pid} died without a word" in attempt.error
    assert front.log(beside.run) == "last words\n"
    assert not beside.workdir.exists()


def test_a_superseded_process_is_asked_to_end_and_then_ended(
    beside: Beside,
    store: Store,
    victim: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store.end(beside.run.id, 1, outcome=Outcome.LOST)
    beside.keeper.tick()
    assert victim.poll() is None  # it may be about to say goodbye itself
    monkeypatch.setattr(keepers, "BYE_S", -1.0)
    beside.keeper.tick()
    assert psutil.pid_exists(victim.pid)  # SIGTERM, to which this one does not listen
    monkeypatch.setattr(keepers, "TERM_S", -1.0)
    beside.keeper.tick()
    assert victim.wait(10) == -9


def test_a_keeper_never_ends_the_process_of_a_dispatcher(
    front: Any,
    store: Store,
    tmp_path: Path,
    victim: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    beside = Beside(front, tmp_path, victim.pid, force=False)
    monkeypatch.setattr(keepers, "BYE_S", -10.0)
    store.end(beside.run.id, 1, outcome=Outcome.LOST)
    beside.keeper.tick()
    beside.keeper.tick()
    with pytest.raises(subprocess.TimeoutExpired):
        victim.wait(0.2)


def test_an_attempt_that_does_not_stop_when_asked_is_ended_and_cancelled(
    beside: Beside,
    store: Store,
    victim: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store.request_cancel(beside.run.id, reason="user")
    beside.keeper.tick()
    assert victim.poll() is None
    monkeypatch.setattr(keepers, "GRACE_S", -1.0)
    beside.keeper.tick()
    assert victim.wait(10) == -9
    beside.keeper.bury()
    assert store.run(beside.run.id).state is RunState.CANCELLED
    assert "did not stop within" in store.attempts(beside.run.id)[0].error


def test_an_attempt_that_has_ended_is_not_ended_again(
    beside: Beside, store: Store, victim: subprocess.Popen[bytes]
) -> None:
    store.end(beside.run.id, 1, outcome=Outcome.SUCCEEDED, result={"scores": {}})
    history = store.history(beside.run.id)
    victim.kill()
    beside.keeper.bury()
    assert store.history(beside.run.id) == history


@pytest.mark.parametrize(
    ("kills", "failure"), [(3, Failure.PROCESS_DIED), (4, Failure.HOST_MEMORY)]
)
def test_a_kill_by_the_kernel_meanwhile_is_taken_for_want_of_memory(
    tmp_path: Path, kills: int, failure: Failure
) -> None:
    counters = tmp_path / "vmstat"
    counters.write_text("nr_free_pages 7\noom_kill 3\n")
    memory = MemoryWatch(counters)
    counters.write_text(f"nr_free_pages 9\noom_kill {kills}\n")
    assert memory.verdict()[0] is failure


def test_a_full_memory_explains_a_death(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = MemoryWatch(Path("/nowhere"))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"percent": 97.0}))
    memory.look()
    failure, text = memory.verdict()
    assert failure is Failure.HOST_MEMORY
    assert "97 %" in text


def test_a_progress_bar_leaves_its_last_state(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"a\r\nloading 1%\rloading 99%\rdone\n\xff\n")
    assert LogTail(file).read() == "a\ndone\n\N{REPLACEMENT CHARACTER}\n"


def test_a_log_that_runs_away_loses_its_middle_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("first\n")
    tail = LogTail(file)
    assert tail.read() == "first\n"
    with file.open("a") as log:
        log.write("x" * 99 + "\n")
        log.write(("y" * 99 + "\n") * (BACKLOG_BYTES // 100 + 10))
        log.write("last\n")
    text = ""
    while not tail.at_end():
        text += tail.read()
    assert "MiB of log left out" in text
    assert text.endswith("last\n")


def test_a_missing_log_is_an_empty_one(tmp_path: Path) -> None:
    tail = LogTail(tmp_path / "none")
    assert tail.read() == ""
    assert tail.at_end()


def test_a_later_process_of_the_same_number_is_another(victim: subprocess.Popen[bytes]) -> None:
    start_s = started_at_s(victim.pid)
    assert start_s is not None
    assert is_same(victim.pid, start_s)
    assert not is_same(victim.pid, start_s - 100)
    end_same(victim.pid, start_s - 100)
    assert victim.poll() is None
    end_same(victim.pid, start_s)
    assert victim.wait(10) == -9
    assert started_at_s(victim.pid) is None


@pytest.mark.parametrize("descriptors", [True, False])
def test_the_end_of_a_process_is_seen(
    victim: subprocess.Popen[bytes],
    descriptors: bool,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[..., None],
) -> None:
    if not descriptors:
        monkeypatch.delattr("os.pidfd_open")
    watched = Watched(victim.pid)
    assert watched.is_alive()
    assert watched.wait([], timeout_s=0.01) == []
    victim.kill()
    wait_until(lambda: not watched.is_alive(), timeout_s=10)
    watched.wait([], timeout_s=600)
