from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

from jobs.drill import DrillSpec  # type: ignore[import-not-found]  # put there by the tests

from jobs.errors import DatasetError, DivergedError, InterruptedRunError
from jobs.job import JobContext, Result


def check(spec: DrillSpec, context: JobContext) -> None:
    sys.stdout.write("checked\n")
    if spec.mishap == "data":
        raise DatasetError("the drill's data are missing; put them back")


def run(spec: DrillSpec, context: JobContext) -> Result:
    folder = context.resume()
    done = int((folder / "done.txt").read_text()) if folder else 0
    sys.stdout.write(f"starts after step {done}\n")
    first = done
    for step in range(done + 1, spec.steps + 1):
        if (step == spec.at_step and first < spec.at_step - 1) or spec.mishap.startswith("always"):
            happen(spec.mishap)
        time.sleep(spec.pause_s)
        context.report(step=step, total_steps=spec.steps, metrics={"train_loss": 1.0 / step})
        if step % spec.save_every == 0:
            context.save(step=step, write=partial(write, step=step))
        if reason := context.stop_requested():
            context.save(step=step, write=partial(write, step=step))
            raise InterruptedRunError(reason)
    report = context.workdir / "report.txt"
    report.write_text("done")
    context.keep(report, name="report.txt")
    return Result(scores={"top1_pct": 50.0}, facts={"first": first})


def write(folder: Path, *, step: int) -> None:
    (folder / "done.txt").write_text(str(step))


def happen(mishap: str) -> None:
    match mishap.removeprefix("always "):
        case "kill":
            sys.stderr.write("about to die\n")
            os.kill(os.getpid(), signal.SIGKILL)
        case "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "terminate":
            os.kill(os.getpid(), signal.SIGTERM)
        case "diverge":
            raise DivergedError("train_loss is nan at step 3")
        case "memory":
            raise MemoryError
        case "bug":
            raise ZeroDivisionError("a bug")
