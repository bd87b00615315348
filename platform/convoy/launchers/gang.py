"""Several workers for one run, brought up by Ray Train; the retry policy stays ours.

Called inside the attempt's process, which takes no processor itself: it waits. Every worker writes
how it ended into a file of the attempt; the files, not Ray's exceptions, say what happened.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convoy.errors import SupersededError, WorkerFailedError
from convoy.execution import failures
from convoy.execution.attempt import charge_of, device_of, plain, work_alone
from convoy.execution.capture import captured
from convoy.execution.context import AttemptContext
from convoy.execution.insistence import insist
from convoy.execution.keeper import KeeperProcess
from convoy.execution.ranks import Ranks
from convoy.launchers import Order
from convoy.records import Run
from convoy.states import Failure
from convoy.storage import RunPaths, Storage
from convoy.store import Store
from jobs.errors import InterruptedRunError
from jobs.job import Resources, Result, read_spec

RAY_TRAIN: Mapping[str, str] = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths of a spec stay what they are
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # the end of the workers is seen this often
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "60",
}


def run_gang(order: Order, run: Run, workdir: Path) -> Result:
    """Run a checked run on its workers and return rank 0's result.

    Args:
        order: The attempt.
        run: The run.
        workdir: Where Ray Train may keep what it needs on this machine.

    Raises:
        WorkerFailedError: A worker failed, with the class of failure that it found.
        InterruptedRunError: The workers saved and stopped on request.
        SupersededError: Another attempt has this one's place.
    """
    os.environ.update(RAY_TRAIN)
    from ray.train import (
        FailureConfig,
        RunConfig,
        ScalingConfig,
        TrainingFailedError,
        WorkerGroupError,
    )
    from ray.train.torch import TorchTrainer

    storage, paths = Storage(order.storage_url), RunPaths(run.id)
    resources = {"CPU": run.resources.cpus}
    if run.resources.gpus:
        resources["GPU"] = run.resources.gpus
    trainer = TorchTrainer(
        work_in_gang,
        train_loop_config={"order": order},
        scaling_config=ScalingConfig(
            num_workers=run.resources.workers,
            use_gpu=bool(run.resources.gpus),
            resources_per_worker=resources,
        ),
        run_config=RunConfig(
            name=order.name,
            storage_path=storage.path(paths.trainer(order.number)),
            failure_config=FailureConfig(max_failures=0),
        ),
    )
    died: Sequence[int] = ()
    trouble = ""
    try:
        trainer.fit()
    except WorkerGroupError as error:
        died, trouble = list(error.worker_failures), str(error)
    except TrainingFailedError as error:
        trouble = str(error)
    finally:
        storage.remove(paths.trainer(order.number))
    endings = _read_endings(storage, paths, order)
    return _judge(endings, died=[rank for rank in died if rank not in endings], trouble=trouble)


def work_in_gang(config: Mapping[str, Any]) -> None:
    """Be one of the workers; called by Ray Train on each, in a thread of its own process."""
    from ray.train import get_context

    order: Order = config["order"]
    rank, world_size = get_context().get_world_rank(), get_context().get_world_size()
    workdir = Path(tempfile.mkdtemp(prefix=f"convoy-{order.name}-{rank}-"))
    log = workdir / "log.txt"
    log.touch()
    keeper = KeeperProcess(charge_of(order, log, rank=rank))
    try:
        with captured(log, own_process=True):
            _work(order, workdir, Ranks(rank=rank, world_size=world_size))
    finally:
        keeper.drain()
        keeper.bye()
        shutil.rmtree(workdir, ignore_errors=True)


def _work(order: Order, workdir: Path, ranks: Ranks) -> None:
    """Work, and write down how it ended; a failure is raised as well, which ends the others."""
    storage = Storage(order.storage_url)
    ending: dict[str, Any] = {}
    try:
        with insist(lambda: Store.open(order.store_url)) as store:
            ending["result"] = plain(_result(order, store, storage, workdir, ranks))
    except SupersededError:
        ending["superseded"] = True
        raise
    except InterruptedRunError as error:
        ending["interrupted"] = error.reason
    except BaseException as error:  # the edge of a worker: recorded, with its class
        failures.log(error, who=f"worker {ranks.rank}")
        found = failures.explain(error)
        ending |= {"failure": found.failure, "text": found.text}
        raise
    finally:
        name = RunPaths(order.run_id).ending(order.number, ranks.rank)
        storage.write_text(name, json.dumps({**ending, "at_s": time.time()}))


def _result(order: Order, store: Store, storage: Storage, workdir: Path, ranks: Ranks) -> Result:
    run = insist(lambda: store.run(order.run_id))
    if run.attempt != order.number:
        raise SupersededError(f"attempt {order.number} of run {run.id} is over; leaving")
    context = AttemptContext(
        store=store,
        storage=storage,
        run=run,
        workdir=workdir,
        cache=Path(order.cache),
        device=own_device(order.resources),
        ranks=ranks,
        keep_checkpoints=order.keep_checkpoints,
    )
    try:
        return work_alone(run.kind, read_spec(run.kind, run.spec), context)
    finally:
        context.close()


def own_device(resources: Resources) -> str:
    """Return the device of this worker, and let this thread use it when nobody names one.

    Ray Train shows a worker the GPUs of all workers of its machine, so that they can talk to each
    other directly; which is its own it knows. What torch takes for current is a matter of each
    thread, and collectives of Python objects go by it.

    Raises:
        LaunchError: It was given a GPU that torch does not see.
    """
    device = device_of(resources)
    if device == "cpu":
        return device
    import torch
    from ray.train.torch import get_device

    own = get_device()
    torch.cuda.set_device(own)
    return str(own)


def _read_endings(storage: Storage, paths: RunPaths, order: Order) -> dict[int, dict[str, Any]]:
    found = {}
    for rank in range(order.resources.workers):
        text = storage.read_text(paths.ending(order.number, rank))
        if text is not None:
            found[rank] = json.loads(text)
    return found


def _judge(
    endings: Mapping[int, Mapping[str, Any]], *, died: Sequence[int], trouble: str
) -> Result:
    """Return rank 0's result, or raise what happened first."""
    if any("superseded" in ending for ending in endings.values()):
        raise SupersededError("a worker found another attempt in this one's place")
    if died:
        text = f"worker {died[0]} died without a word"
        raise WorkerFailedError(f"{text}\n{trouble[-1500:]}", failure=Failure.PROCESS_DIED)
    failed = [(end["at_s"], rank) for rank, end in endings.items() if "failure" in end]
    if failed:
        _, rank = min(failed)
        text = f"worker {rank}: {endings[rank]['text']}"
        raise WorkerFailedError(text, failure=Failure(endings[rank]["failure"]))
    first = endings.get(0, {})
    if "interrupted" in first:
        raise InterruptedRunError(first["interrupted"])
    if trouble or "result" not in first:
        text = f"the workers could not be brought up: {trouble[-1500:] or 'no result'}"
        raise WorkerFailedError(text, failure=Failure.PLACEMENT)
    return Result(**first["result"])
