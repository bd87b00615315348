"""What happens inside the process of an attempt, from its first sign of life to its end."""

from __future__ import annotations

import logging
import math
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from convoy.errors import LaunchError, SupersededError
from convoy.execution import failures
from convoy.execution.capture import captured
from convoy.execution.context import AttemptContext
from convoy.execution.environment import environment
from convoy.execution.insistence import insist
from convoy.execution.keeper import Charge, KeeperProcess
from convoy.launchers import Order
from convoy.provenance import code_version
from convoy.records import Json, Run
from convoy.states import Failure, Outcome
from convoy.storage import Storage
from convoy.store import Store
from jobs.errors import DivergedError, InterruptedRunError
from jobs.job import JobContext, Resources, Result, Spec, load_check, load_run, read_spec

logger = logging.getLogger(__name__)

SIGTERM_REASON = "SIGTERM: its machine or its place is wanted back"
END_PATIENCE_S = 3600.0
"""How long the end of an attempt waits for the store; its work is done and would be lost."""

Gang = Callable[[Order, Run, Path], Result]
"""Runs a run of several workers, checked already, and returns rank 0's result."""


@dataclass(frozen=True)
class Verdict:
    """How an attempt ends."""

    outcome: Outcome
    result: Mapping[str, Json] | None = None
    failure: Failure | None = None
    error: str = ""


def execute(order: Order, *, gang: Gang | None = None, own_process: bool = True) -> None:
    """Carry out an attempt: begin, work, end. Returns quietly when another one has its place.

    Args:
        order: What to do, and where store and storage are.
        gang: Brings up several workers; needed by runs that have them.
        own_process: The process belongs to the attempt, so its output may be taken and its
            keeper may end it. Else it is also the dispatcher's.

    Raises:
        StoreAwayError: The store does not answer; the dispatcher's deadline or the lease tells.
        KeyboardInterrupt: As it came, after the attempt was ended.
    """
    store = insist(lambda: Store.open(order.store_url), patience_s=60.0)
    workdir = Path(tempfile.mkdtemp(prefix=f"convoy-{order.name}-"))
    try:
        _execute(order, store, workdir, gang, own_process=own_process)
    except SupersededError as error:
        logger.warning("stopped: %s", error)
    finally:
        shutil.rmtree(workdir, ignore_errors=True)
        store.close()


def _execute(
    order: Order, store: Store, workdir: Path, gang: Gang | None, *, own_process: bool
) -> None:
    who = (order.run_id, order.number)
    run = insist(
        lambda: store.begin(
            *who,
            node=order.node or socket.gethostname(),
            pid=os.getpid(),
            environment={**environment(gpus=order.resources.gpus), "code": _code()},
            lease_s=order.lease_s,
        )
    )
    log = workdir / "log.txt"
    log.touch()
    keeper = KeeperProcess(charge_of(order, log, lease_s=order.lease_s, force=own_process))
    try:
        with captured(log, own_process=own_process):
            verdict, interrupt = _work(order, store, run, workdir, gang, own_process=own_process)
            keeper.drain()
        insist(
            lambda: store.end(
                *who,
                outcome=verdict.outcome,
                result=verdict.result,
                failure=verdict.failure,
                error=verdict.error,
            ),
            patience_s=END_PATIENCE_S,
        )
    finally:
        keeper.bye()
    if interrupt is not None:
        raise interrupt


def charge_of(
    order: Order, log: Path, *, rank: int = 0, lease_s: float = 0.0, force: bool = True
) -> Charge:
    """Return what the keeper of this very process is told; `log` lies in its workdir."""
    return Charge(
        store_url=order.store_url,
        run_id=order.run_id,
        number=order.number,
        rank=rank,
        pid=os.getpid(),
        log=str(log),
        workdir=str(log.parent),
        lease_s=lease_s,
        force=force,
    )


def _work(
    order: Order,
    store: Store,
    run: Run,
    workdir: Path,
    gang: Gang | None,
    *,
    own_process: bool,
) -> tuple[Verdict, KeyboardInterrupt | None]:
    """Do the work; whatever goes wrong becomes a verdict. The outermost edge of an attempt."""
    context: AttemptContext | None = None
    try:
        if run.code and run.code != code_version():
            logger.warning("the code here is not the code that submitted this run; see its facts")
        context = make_context(order, store, run, workdir)
        with _stopped_by_sigterm(context, chain=not own_process):
            result = _result(order, run, context, workdir, gang)
        context.close()
        return Verdict(Outcome.SUCCEEDED, result=plain(result)), None
    except SupersededError:
        raise
    except InterruptedRunError as error:
        return _interrupted(error, context), None
    except KeyboardInterrupt as error:
        return Verdict(Outcome.FAILED, failure=Failure.PREEMPTED, error="Ctrl-C"), error
    except BaseException as error:  # the edge: recorded, with its class
        failures.log(error, who="the run")
        ending = failures.explain(error)
        return Verdict(Outcome.FAILED, failure=ending.failure, error=ending.text), None
    finally:
        if context is not None:
            context.close()


def make_context(order: Order, store: Store, run: Run, workdir: Path) -> AttemptContext:
    """Return the context of the attempt's only worker, or of its preparation when it has several.

    Raises:
        StorageError: The storage cannot be written or is full.
        LaunchError: A GPU was given that torch does not see.
    """
    storage = Storage(order.storage_url)
    storage.check()
    context = AttemptContext(
        store=store,
        storage=storage,
        run=run,
        workdir=workdir,
        cache=Path(order.cache),
        device=device_of(order.resources) if order.resources.workers == 1 else "cpu",
        keep_checkpoints=order.keep_checkpoints,
    )
    context.sweep()
    return context


def device_of(resources: Resources) -> str:
    """Return the device of a worker.

    Raises:
        LaunchError: It was given a GPU that torch does not see.
    """
    if not resources.gpus:
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda:0"
    raise LaunchError(
        f"{resources.gpus:g} GPU was reserved but torch {torch.__version__} sees none on "
        f"{socket.gethostname()}; look at `nvidia-smi` there and at the build of torch"
    )


def work_alone(kind: str, spec: Spec, context: JobContext) -> Result:
    """Run a kind in this process with the threads it was given."""
    run_job = load_run(kind)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(context.threads)
    return run_job(spec, context)


def _result(
    order: Order, run: Run, context: AttemptContext, workdir: Path, gang: Gang | None
) -> Result:
    spec = read_spec(run.kind, run.spec)
    context.status("loading")
    check = load_check(run.kind)
    if check is not None:
        context.status("checking the input")
        check(spec, context)
    if order.resources.workers == 1:
        return work_alone(run.kind, spec, context)
    if gang is None:
        raise LaunchError(
            f"this launcher runs one worker, the run asks for {order.resources.workers}; "
            "dispatch it on Ray or submit it with --workers 1"
        )
    context.close()
    return gang(order, run, workdir)


def plain(result: Result) -> dict[str, Json]:
    """Return a result as the store keeps it.

    Raises:
        DivergedError: A score is not a finite number.
    """
    scores = {name: float(value) for name, value in result.scores.items()}
    broken = {name: value for name, value in scores.items() if not math.isfinite(value)}
    if broken:
        raise DivergedError(f"scores are not finite: {broken}")
    return {
        "scores": scores,
        "facts": dict(result.facts),
        "rows": [dict(row) for row in result.rows],
    }


def _interrupted(error: InterruptedRunError, context: AttemptContext | None) -> Verdict:
    step = context.saved_step if context is not None else None
    text = f"{error}; it kept its checkpoint of step {step}" if step is not None else str(error)
    if error.reason == SIGTERM_REASON:
        return Verdict(Outcome.FAILED, failure=Failure.PREEMPTED, error=text)
    return Verdict(Outcome.CANCELLED, error=text)


def _code() -> dict[str, Json]:
    """Return the code version without the text of the difference, which the run has."""
    return {name: value for name, value in code_version().items() if name != "diff"}


@contextmanager
def _stopped_by_sigterm(context: AttemptContext, *, chain: bool) -> Iterator[None]:
    """Let SIGTERM ask the run to save and stop; its time is the sender's to give."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)

    def ask(number: int, frame: FrameType | None) -> None:
        context.interrupt(SIGTERM_REASON)
        if chain and callable(before):
            before(number, frame)

    signal.signal(signal.SIGTERM, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
