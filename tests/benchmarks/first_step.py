"""From submission to the first training step on an idle local platform, and what a run spends else.

Usage: python tests/benchmarks/first_step.py [--runs 5] [--backbone resnet20_cifar/conv]

Starts a dispatcher with local Ray on a new home folder, then submits one training run after the
other, each when the one before has ended. The first run also writes the embedded images and checks
them, so it is shown apart. Times are the store's own, as `platform show` has them.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from convoy import service, submission
from convoy.demo import spans
from convoy.records import Run
from convoy.settings import Settings
from convoy.states import RunState
from convoy.store import Store

PARTS = {
    "queued": "queued until claimed by the dispatcher",
    "starting": "until the attempt's process shows itself",
    "preparing": "until the first step (imports, data, network)",
}


def main() -> None:
    arguments = _arguments()
    _print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at start")
    with tempfile.TemporaryDirectory(prefix="first-step") as folder:
        settings = Settings(home=Path(folder)).resolved()
        with Store.create(settings.store_url) as store, _dispatching(store, settings):
            runs = [
                _train(store, settings, backbone=arguments.backbone, seed=seed)
                for seed in range(arguments.runs + 1)
            ]
            _show("first run of a new installation", store, runs[:1])
            _show(f"median of {len(runs) - 1} runs after it", store, runs[1:])


def measure(store: Store, run: Run) -> Mapping[str, float]:
    """Break a finished run down: seconds of each part, shares of the whole in percent."""
    found = spans(run, store.attempts(run.id))
    parts = {name: getattr(found, name) for name in PARTS}
    scores = (run.result or {})["scores"]
    assert run.ended_at
    whole_s = (run.ended_at - run.created_at).total_seconds()
    return {
        **{PARTS[name]: seconds for name, seconds in parts.items()},
        "submission to first step": sum(parts.values()),
        "submission to end": whole_s,
        "in training steps": scores["seconds_in_steps"],
        "outside of steps, of the job's own time, %": _rest_pct(scores, scores["seconds_total"]),
        "outside of steps, of submission to end, %": _rest_pct(scores, whole_s),
    }


def _rest_pct(scores: Mapping[str, float], whole_s: float) -> float:
    return 100 * (1 - scores["seconds_in_steps"] / whole_s)


def _show(title: str, store: Store, runs: Sequence[Run]) -> None:
    measured = [measure(store, run) for run in runs]
    _print(f"\n{title}")
    for name in measured[0]:
        values = [one[name] for one in measured]
        spread = f"   ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
        unit = "  " if name.endswith("%") else " s"
        _print(f"  {name:48} {statistics.median(values):7.2f}{unit}{spread}")


def _train(store: Store, settings: Settings, *, backbone: str, seed: int) -> Run:
    """Submit a run and wait until it has ended and the platform is idle again."""
    (new,) = submission.prepare(
        "classify",
        {"backbone": backbone, "data": "digits", "recipe": "digits_quick", "seed": seed},
        wishes=submission.Wishes(owner=settings.owner),
    )
    run_id = store.submit([new])[0].id
    _wait(lambda: store.run(run_id).state.is_final and not store.live_attempts())
    run = store.run(run_id)
    if run.state is not RunState.SUCCEEDED:
        raise SystemExit(f"run {run_id} {run.state}: {run.failure_text}")
    return run


@contextmanager
def _dispatching(store: Store, settings: Settings) -> Iterator[None]:
    command = service.dispatch_command(settings.home)
    with (settings.home / "dispatcher.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait(lambda: any(one.alive and one.leads for one in store.dispatchers()))
        yield
    finally:
        process.terminate()
        process.wait(60)


def _wait(condition: Callable[[], bool], *, timeout_s: float = 600.0) -> None:
    until_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > until_s:
            raise SystemExit(f"nothing happened for {timeout_s:.0f} s")
        time.sleep(0.05)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--backbone", default="resnet20_cifar/conv")
    return parser.parse_args()


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
