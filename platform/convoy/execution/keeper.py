"""The keeper: a small process beside an attempt that no compilation or lock of it can starve.

It renews the lease and sends the log. When the attempt's process dies without a word, it sends
the last lines and ends the attempt at once. An attempt that was superseded, or that does not stop
when asked, it ends by force. Its attempt talks to it over a pipe: its charge first, then ``drain``
and ``bye``.

It makes itself independent of its parent, since what ends the attempt must not end the keeper.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from convoy.errors import StoreError, SupersededError
from convoy.execution.insistence import insist
from convoy.execution.logtail import LogTail
from convoy.execution.processes import Watched
from convoy.states import Failure, Outcome
from convoy.store import Store

TICK_S = 1.0
"""How often the log is looked at."""
BYE_S = 3.0
"""An attempt that ended by itself has lost its place too; so long it has to say so."""
TERM_S = 5.0
"""Between asking a superseded process to end and ending it."""
GRACE_S = 180.0
"""How long an attempt that was asked to stop may take to save."""
END_PATIENCE_S = 120.0
"""How long the end of a dead process waits for the store; after that the lease tells."""
FULL_PCT = 94.0
"""From this use of the host's memory on, a process that dies is taken to have died of it."""


@dataclass(frozen=True)
class Charge:
    """What a keeper is told about its attempt.

    Attributes:
        store_url: Where the store is.
        run_id: The run.
        number: Number of the attempt.
        rank: Whose log it is.
        pid: Process to watch.
        log: File that the process writes its log to.
        workdir: Folder to remove when the process has died.
        lease_s: Seconds that a renewal holds; 0 when another keeper has the lease.
        force: Whether it may end the process; not when that is also the dispatcher's.
    """

    store_url: str = field(repr=False)
    run_id: int
    number: int
    rank: int
    pid: int
    log: str
    workdir: str
    lease_s: float
    force: bool = True


class Keeper:
    """What a keeper does; `tick` about each second, then `bury` if its process has died."""

    def __init__(self, charge: Charge, store: Store, process: Watched) -> None:
        self._charge = charge
        self._who = (charge.run_id, charge.number)
        self._store = store
        self._process = process
        self._tail = LogTail(Path(charge.log))
        self._unsent = ""
        self._renew_at_s = 0.0
        self._stop_asked_at_s: float | None = None
        self._superseded_at_s: float | None = None
        self._forced = False
        self._memory = MemoryWatch()

    def tick(self) -> None:
        """Send new lines, renew the lease when it is time, see that a stop is obeyed."""
        self._memory.look()
        try:
            self._send_log()
            self._renew()
        except SupersededError:
            self._end_superseded()
        except StoreError:
            self._renew_at_s = time.monotonic() + TICK_S  # away; it is asked again

    def drain(self) -> None:
        """Send all that is left of the log."""
        with contextlib.suppress(StoreError, SupersededError):
            while self._unsent or not self._tail.at_end():
                insist(lambda: self._send_log(rest=True), patience_s=60.0)

    def bury(self) -> None:
        """The process is gone and has not said goodbye: record that and clean up behind it."""
        self.drain()
        if self._charge.lease_s:
            failure, evidence = self._memory.verdict()
            error = f"process {self._charge.pid} died without a word; {evidence}"
            if self._forced:
                error = f"ended by force: it did not stop within {GRACE_S:.0f} s of being asked"
            # When it cannot be told, somebody else has ended it or its lease will run out.
            with contextlib.suppress(SupersededError, StoreError):
                insist(
                    lambda: self._store.end(
                        *self._who, outcome=Outcome.LOST, failure=failure, error=error
                    ),
                    patience_s=END_PATIENCE_S,
                )
        shutil.rmtree(self._charge.workdir, ignore_errors=True)

    def _send_log(self, *, rest: bool = False) -> None:
        self._unsent = self._unsent or self._tail.read(rest=rest)
        if self._unsent:
            self._store.append_log(*self._who, rank=self._charge.rank, text=self._unsent)
            self._unsent = ""

    def _renew(self) -> None:
        now_s = time.monotonic()
        if self._charge.lease_s and now_s >= self._renew_at_s:
            requests = self._store.renew(*self._who, lease_s=self._charge.lease_s)
            self._renew_at_s = now_s + self._charge.lease_s / 3
            if requests.stop and self._stop_asked_at_s is None:
                self._stop_asked_at_s = now_s
        if self._stop_asked_at_s is not None and now_s > self._stop_asked_at_s + GRACE_S:
            self._end_by_force(signal.SIGKILL)

    def _end_superseded(self) -> None:
        now_s = time.monotonic()
        self._superseded_at_s = self._superseded_at_s or now_s
        if now_s > self._superseded_at_s + BYE_S + TERM_S:
            self._end_by_force(signal.SIGKILL)
        elif now_s > self._superseded_at_s + BYE_S and not self._forced:
            self._end_by_force(signal.SIGTERM)

    def _end_by_force(self, what: signal.Signals) -> None:
        if self._charge.force:
            self._forced = True
            self._process.send(what)


class MemoryWatch:
    """Whether the host ran out of memory, as far as one can tell from outside."""

    def __init__(self, counters: Path = Path("/proc/vmstat")) -> None:
        self._counters = counters
        self._kills = self._kills_now()
        self._used_pct = 0.0

    def look(self) -> None:
        """Take note of how full the memory is."""
        import psutil  # here, so that the fork at the start of the process stays cheap

        self._used_pct = psutil.virtual_memory().percent

    def verdict(self) -> tuple[Failure, str]:
        """Return the class of failure of a process that died just now, and the evidence."""
        if self._kills_now() > self._kills:
            return Failure.HOST_MEMORY, "the kernel ended a process for want of memory meanwhile"
        if self._used_pct >= FULL_PCT:
            return Failure.HOST_MEMORY, f"{self._used_pct:.0f} % of the host's memory were in use"
        return Failure.PROCESS_DIED, "killed from outside or crashed; its last lines are in the log"

    def _kills_now(self) -> int:
        with contextlib.suppress(OSError, ValueError, IndexError):
            for line in self._counters.read_text("ascii").splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        return 0


class KeeperProcess:
    """The attempt's end of the pipe to its keeper."""

    def __init__(self, charge: Charge) -> None:
        paths = json.dumps(sys.path)  # whatever made this process find its code
        boot = (
            f"import sys; sys.path[:] = {paths}; from convoy.execution.keeper import main; main()"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", boot],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._say(json.dumps(asdict(charge)))  # not an argument: the address may hold a password

    def drain(self) -> None:
        """Return when the keeper has sent all that has been written to the log."""
        if self._say("drain") and self._process.stdout is not None:
            self._process.stdout.readline()

    def bye(self) -> None:
        """The attempt has ended in order; the keeper goes."""
        self._say("bye")
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.wait()

    def _say(self, line: str) -> bool:
        pipe = self._process.stdin
        try:
            if pipe is not None:
                pipe.write(f"{line}\n")
                pipe.flush()
        except OSError:  # the keeper is gone; the lease will tell
            return False
        return pipe is not None


def main() -> None:
    """Run a keeper until its attempt says ``bye`` or its process has died."""
    if os.fork():  # nobody's child: neither the attempt's death nor its launcher ends it
        os._exit(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    charge = Charge(**json.loads(_first_line()))
    process = Watched(charge.pid)
    store = insist(lambda: Store.open(charge.store_url), patience_s=END_PATIENCE_S)
    keeper = Keeper(charge, store, process)
    if not _said_goodbye(keeper, process):
        keeper.bury()
    store.close()


def _said_goodbye(keeper: Keeper, process: Watched) -> bool:
    """Keep until the attempt says ``bye`` or its process is gone; return whether it has said it."""
    while process.is_alive():
        keeper.tick()
        if not process.wait([0], timeout_s=TICK_S):
            continue
        words = os.read(0, 4096).decode().split()
        if "bye" in words:
            return True
        if not words:  # the pipe is closed: by the end of the process, or by one that lives on
            process.wait([], timeout_s=BYE_S)
            return process.is_alive()
        keeper.drain()
        print("ok", flush=True)  # noqa: T201 (the answer on the pipe)
    return False


def _first_line() -> bytes:
    """Read up to a newline and not beyond it: what follows is waited for with `select`."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            sys.exit("the attempt ended before it said what to keep")
        line += byte
    return line
