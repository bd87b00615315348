"""One contract for every launcher, and what Ray adds to it; on a real local Ray."""

from __future__ import annotations

import gc
import socket
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from convoy import lineage
from convoy.dispatcher import Dispatcher
from convoy.launchers import Launcher
from convoy.launchers.inline import InlineLauncher
from convoy.records import NewRun, Run
from convoy.settings import Settings
from convoy.states import Failure, Outcome, Phase, RunState
from convoy.store import Store
from convoy.submission import Wishes
from jobs.job import Resources, read_spec

RECIPE = {"base": "digits_quick", "micro_batch": 16}
LONG = {**RECIPE, "epochs": 500}


@pytest.fixture(scope="module")
def ray_home() -> Iterator[Path]:
    """A short path: Ray puts sockets below it."""
    with tempfile.TemporaryDirectory(prefix="cv", dir="/tmp", ignore_cleanup_errors=True) as home:
        yield Path(home)


@pytest.fixture(scope="module")
def cluster(ray_home: Path) -> Iterator[Launcher]:
    """A local Ray for all tests of this file."""
    from convoy.launchers.cluster import ClusterLauncher

    launcher = ClusterLauncher(Settings(home=ray_home, cpus=2.0), store_id="contract")
    yield launcher
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray does not wait for all it ended
        launcher.close()
        gc.collect()


@pytest.fixture(params=["inline", pytest.param("ray", marks=pytest.mark.ray)])
def launcher(request: pytest.FixtureRequest) -> Launcher:
    if request.param == "inline":
        return InlineLauncher(cpus=2.0)
    found: Launcher = request.getfixturevalue("cluster")
    return found


class Training:
    """Submits real training runs, and runs the dispatcher until something has come true."""

    def __init__(self, store: Store, launcher: Launcher, settings: Settings) -> None:
        self.store = store
        self.launcher = launcher
        self.dispatcher = Dispatcher(store, launcher, settings)

    def submit(self, recipe: dict[str, Any], *, workers: int = 1, data: str = "digits") -> Run:
        backbone = "resnet20_cifar/conv"
        values = {"backbone": backbone, "data": data, "recipe": recipe, "checkpoint_every_s": 2.0}
        spec = read_spec("classify", values)
        run = NewRun(
            kind="classify",
            spec=spec.model_dump(mode="json"),
            spec_hash=spec.digest(),
            resources=Resources(workers=workers),
            owner="ada",
        )
        return self.store.submit([run])[0]

    def submit_family(self, recipe: dict[str, Any], *, workers: int) -> tuple[Run, Run]:
        """Submit a run with one core, and one of `workers` that starts from it."""
        values = {"data": "digits", "recipe": recipe, "parent": {"recipe": recipe, "workers": 1}}
        new = lineage.prepare(
            "classify",
            values,
            wishes=Wishes(owner="ada", workers=workers),
            backbones=["resnet20_cifar/conv"],
        )
        parent, child = self.store.submit(new)
        return parent, child

    def until(self, condition: Callable[[], bool], *, wait_until: Any, timeout_s: float) -> None:
        def stepped() -> bool:
            self.dispatcher.step()
            return condition()

        wait_until(stepped, timeout_s=timeout_s)


@pytest.fixture
def training(
    store: Store, launcher: Launcher, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Training:
    if not isinstance(launcher, InlineLauncher):
        # Ray remembers names; the runs of every test's new store begin with 1.
        vars(launcher)["_namespace"] = f"convoy-{store.id}-{time.time_ns()}"
    cache = tmp_path_factory.getbasetemp() / "shared-cache"
    return Training(store, launcher, settings.model_copy(update={"cache": cache}))


class TestEveryLauncher:
    """What `Launcher` promises."""

    def test_it_offers_the_cores_that_the_settings_give(self, launcher: Launcher) -> None:
        (node,) = launcher.capacity()
        assert (node.name, node.cpus, node.gpus) == (socket.gethostname(), 2.0, 0.0)
        assert node.memory_mib > 0

    def test_a_name_that_nobody_started_is_not_alive_and_can_be_killed(
        self, launcher: Launcher
    ) -> None:
        launcher.kill("run-9-9")
        assert not launcher.alive("run-9-9")
        assert launcher.freed([])

    def test_an_attempt_runs_to_its_end_and_leaves_nothing(
        self, training: Training, store: Store, front: Any, wait_until: Any
    ) -> None:
        run = training.submit(RECIPE, data="/nowhere")
        training.until(
            lambda: bool(store.attempts(run.id)) and not store.live_attempts(),
            wait_until=wait_until,
            timeout_s=120,
        )
        (attempt,) = store.attempts(run.id)
        assert (attempt.failure, attempt.node) == (Failure.DATA, socket.gethostname())
        assert "/nowhere" in front.log(run)
        assert not training.launcher.alive("run-1-1")

    def test_starting_an_attempt_twice_is_harmless(
        self, launcher: Launcher, front: Any, store: Store, training: Training, wait_until: Any
    ) -> None:
        order = front.claim(training.submit(RECIPE, data="/nowhere"))
        launcher.launch(order)
        launcher.launch(order)
        wait_until(lambda: store.run(1).state is RunState.FAILED, timeout_s=120)
        assert len([move for move in store.history(1) if "began" in move.reason]) == 1

    def test_a_run_starts_from_another_ones_weights_when_that_has_succeeded(
        self, training: Training, store: Store, front: Any, launcher: Launcher, wait_until: Any
    ) -> None:
        workers = 1 if isinstance(launcher, InlineLauncher) else 2
        parent, child = training.submit_family({**RECIPE, "epochs": 2}, workers=workers)
        training.until(
            lambda: store.run(child.id).state.is_final, wait_until=wait_until, timeout_s=300
        )
        first, second = store.run(parent.id), store.run(child.id)
        assert second.state is RunState.SUCCEEDED, front.log(second)
        assert first.result is not None
        assert second.result is not None
        assert second.started_at > first.ended_at  # type: ignore[operator]  # both have ended
        done = first.result["facts"]
        assert second.result["facts"]["initial"] == "/".join(
            (
                f"classify#{done['dataset_fingerprint']}",
                done["recipe_hash"],
                "scratch",
                str(done["train_samples_seen"]),
            )
        )
        assert second.result["scores"]["train_loss"] < first.result["scores"]["train_loss"]


@pytest.mark.ray
@pytest.mark.parametrize("launcher", ["ray"], indirect=True)
class TestRay:
    """What only processes of their own can show."""

    def test_a_killed_attempt_is_queued_again_at_once_and_its_core_is_free(
        self, training: Training, store: Store, wait_until: Any
    ) -> None:
        run = training.submit(LONG)
        training.until(
            lambda: bool(store.checkpoints(run.id)), wait_until=wait_until, timeout_s=180
        )
        training.launcher.kill("run-1-1")
        training.until(
            lambda: store.attempts(run.id)[0].released_at is not None,
            wait_until=wait_until,
            timeout_s=60,
        )
        first, saved = store.attempts(run.id)[0], store.checkpoints(run.id)[-1].step
        assert (first.outcome, first.failure) == (Outcome.LOST, Failure.PROCESS_DIED)
        training.until(
            lambda: store.run(run.id).attempt == 2 and store.run(run.id).phase is Phase.RUNNING,
            wait_until=wait_until,
            timeout_s=120,
        )
        assert store.attempts(run.id)[1].resumed_step == saved
        store.request_cancel(run.id)
        training.until(lambda: not store.live_attempts(), wait_until=wait_until, timeout_s=60)
        assert store.run(run.id).state is RunState.CANCELLED

    def test_two_workers_train_one_network_to_its_end(
        self, training: Training, store: Store, front: Any, wait_until: Any
    ) -> None:
        run = training.submit({**RECIPE, "epochs": 2}, workers=2)
        training.until(
            lambda: bool(store.attempts(run.id)) and not store.live_attempts(),
            wait_until=wait_until,
            timeout_s=300,
        )
        done = store.run(run.id)
        assert done.state is RunState.SUCCEEDED, front.log(run)
        assert done.result is not None
        assert done.result["scores"]["top1_pct"] > 0
        assert (done.step, done.epoch) == (88, 2)
        assert training.launcher.freed([])

    @pytest.mark.slow
    def test_two_workers_stop_together(
        self, training: Training, store: Store, wait_until: Any
    ) -> None:
        run = training.submit(LONG, workers=2)
        training.until(lambda: store.run(run.id).step > 0, wait_until=wait_until, timeout_s=300)
        store.request_cancel(run.id)
        training.until(lambda: not store.live_attempts(), wait_until=wait_until, timeout_s=120)
        assert store.run(run.id).state is RunState.CANCELLED
        assert store.checkpoints(run.id)
        assert {piece.rank for piece in store.log(run.id)} == {0, 1}

    def test_what_two_workers_held_is_free_within_a_minute_of_a_kill(
        self, training: Training, store: Store, wait_until: Any
    ) -> None:
        run = training.submit(LONG, workers=2)
        training.until(lambda: store.run(run.id).step > 0, wait_until=wait_until, timeout_s=300)
        training.launcher.kill("run-1-1")
        training.until(
            lambda: store.attempts(run.id)[0].ended_at is not None,
            wait_until=wait_until,
            timeout_s=60,
        )
        store.request_cancel(run.id)
        wait_until(lambda: training.launcher.freed([]), timeout_s=60)
        training.until(lambda: not store.live_attempts(), wait_until=wait_until, timeout_s=60)
        assert store.attempts(run.id)[0].failure is Failure.PROCESS_DIED
