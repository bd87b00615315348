"""What a run may ask of the world, over a real store and real files."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from convoy.errors import StorageError, StoreAwayError, SupersededError
from convoy.execution.context import AttemptContext
from convoy.execution.ranks import Ranks
from convoy.execution.reporting import FLUSH_S, Pace, thinned
from convoy.records import Point, Run
from convoy.settings import Settings
from convoy.states import Failure, Outcome, Phase
from convoy.storage import Storage
from convoy.store import Store
from jobs.errors import SpecError
from jobs.job import JobContext

Make = Callable[[Run], AttemptContext]


@pytest.fixture
def make(store: Store, settings: Settings, tmp_path: Path) -> Iterator[Make]:
    """Makes the context of a begun run."""
    made: list[AttemptContext] = []

    def context(run: Run) -> AttemptContext:
        workdir = tmp_path / f"work-{len(made)}"
        workdir.mkdir()
        made.append(
            AttemptContext(
                store=store,
                storage=Storage(settings.storage_url),
                run=run,
                workdir=workdir,
                cache=tmp_path / "cache",
                keep_checkpoints=2,
            )
        )
        return made[-1]

    yield context
    for one in made:
        one.close()


def save(context: JobContext, step: int) -> None:
    context.save(step=step, write=lambda folder: _write(folder / "step.txt", step))


def _write(file: Path, step: int) -> None:
    file.write_text(str(step))


def again(front: Any, run: Run) -> Run:
    """Lose the run's attempt and begin the next."""
    store: Store = front.store
    store.end(run.id, run.attempt, outcome=Outcome.LOST, failure=Failure.PREEMPTED)
    store.release(run.id, run.attempt)
    begun: Run = front.begin(store.run(run.id))
    return begun


def test_progress_reaches_the_store_with_its_phase_and_what_is_left(
    front: Any, make: Make, store: Store
) -> None:
    run = front.begin(front.submit())
    context = make(run)
    context.status("loading")
    for step in range(1, 4):
        context.report(step=step, total_steps=10, metrics={"train_loss": 1 / step})
    context.report(step=4, total_steps=10, metrics={"val_top1_pct": 70.0}, epoch=1)
    context.close()
    found = store.run(run.id)
    assert (found.step, found.total_steps, found.epoch, found.phase) == (4, 10, 1, Phase.RUNNING)
    assert (found.status, found.best) == ("", {"val_top1_pct": 70.0})
    assert found.last["train_loss"] == pytest.approx(1 / 3)
    assert found.eta_s is not None
    assert found.eta_s >= 0


def test_a_thousand_steps_a_second_become_a_few_points_and_epochs_stay(
    front: Any, make: Make, store: Store
) -> None:
    run = front.begin(front.submit())
    context = make(run)
    for step in range(1, 1001):
        epoch = step // 100 if step % 100 == 0 else None
        context.report(step=step, total_steps=1000, metrics={"train_loss": 1.0})
        if epoch:
            context.report(step=step, total_steps=1000, metrics={"val_loss": 2.0}, epoch=epoch)
    context.close()
    series = store.series(run.id)
    assert len(series["train_loss"]) < 10
    assert series["train_loss"][-1].step == 1000
    assert [point.epoch for point in series["val_loss"]] == list(range(1, 11))


def test_only_the_newest_checkpoints_stay_on_disk_and_in_the_store(
    front: Any, make: Make, store: Store, settings: Settings
) -> None:
    run = front.begin(front.submit())
    context = make(run)
    for step in (10, 20, 30, 30):
        save(context, step)
    assert [one.step for one in store.checkpoints(run.id)] == [20, 30]
    folder = Storage(settings.storage_url).folder
    assert folder is not None
    kept = folder / "runs" / str(run.id) / "attempt-1" / "checkpoints"
    assert sorted(path.name for path in kept.iterdir()) == ["20", "30"]


def test_what_was_told_before_a_checkpoint_is_recorded_before_it(
    front: Any, make: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = front.begin(front.submit())
    context = make(run)
    told_by_then: list[int] = []

    def die(*_: object, **__: object) -> None:
        told_by_then.extend(point.step for point in store.series(run.id)["val_top1_pct"])
        raise SupersededError("dead")

    monkeypatch.setattr(store, "add_checkpoint", die)
    context.report(step=4, total_steps=8, metrics={"val_top1_pct": 70.0}, epoch=1)
    with pytest.raises(SupersededError):
        save(context, 4)
    assert told_by_then == [4]


def test_a_run_goes_on_from_the_newest_checkpoint_that_is_intact(
    front: Any, make: Make, store: Store, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    run = front.begin(front.submit())
    context = make(run)
    save(context, 10)
    save(context, 20)
    newest = Storage(settings.storage_url).path(store.checkpoints(run.id)[-1].path)
    Path(newest, "step.txt").write_text("99")
    resumed = make(again(front, run))
    folder = resumed.resume()
    assert folder is not None
    assert (folder / "step.txt").read_text() == "10"
    assert resumed.resumed_step == 10
    assert "checkpoint of step 20 is skipped" in caplog.text


def test_a_fresh_run_resumes_nothing(front: Any, make: Make) -> None:
    assert make(front.begin(front.submit())).resume() is None


def test_a_run_that_takes_up_an_ended_one_goes_on_from_its_checkpoint(
    front: Any, make: Make, store: Store
) -> None:
    first = front.begin(front.submit())
    save(make(first), 10)
    store.end(first.id, 1, outcome=Outcome.FAILED, failure=Failure.CODE)
    second = front.begin(front.submit(retry_of=first.id))
    folder = make(second).resume()
    assert folder is not None
    assert (folder / "step.txt").read_text() == "10"


def succeeded(front: Any, make: Make, *steps: int, **changes: Any) -> Run:
    """A run that saved at these steps and ended well."""
    run: Run = front.begin(front.submit(**changes))
    context = make(run)
    for step in steps:
        save(context, step)
    context.close()
    return end_well(front, run)


def end_well(front: Any, run: Run) -> Run:
    result = {"scores": {}, "facts": {"classes": 10}, "rows": []}
    store: Store = front.store
    return store.end(run.id, run.attempt, outcome=Outcome.SUCCEEDED, result=result)


def test_a_run_gets_the_last_checkpoint_of_the_run_it_starts_from(
    front: Any, make: Make, tmp_path: Path
) -> None:
    parent = succeeded(front, make, 10, 20, 30)
    child = make(front.begin(front.submit(depends_on=(parent.id,))))
    found = child.parent(parent.id)
    assert (found.kind, found.backbone, found.facts) == ("drill", "", {"classes": 10})
    assert found.spec == parent.spec
    assert (found.folder / "step.txt").read_text() == "30"
    assert child.resume() is None, "it starts from it, it does not take it up"


def test_the_child_finds_its_parents_checkpoint_after_checkpoints_of_its_own_went(
    front: Any, make: Make
) -> None:
    parent = succeeded(front, make, 10)
    run = front.begin(front.submit(depends_on=(parent.id,)))
    child = make(run)
    for step in range(1, 6):
        save(child, step)
    late = make(again(front, run))
    late.sweep()
    assert (late.parent(parent.id).folder / "step.txt").read_text() == "10"
    assert late.resumed_step is None


def test_every_worker_finds_the_parent_by_itself(
    front: Any, store: Store, settings: Settings, make: Make, tmp_path: Path
) -> None:
    parent = succeeded(front, make, 10)
    run = front.begin(front.submit(depends_on=(parent.id,)))
    second = AttemptContext(
        store=store,
        storage=Storage(settings.storage_url),
        run=run,
        workdir=tmp_path,
        cache=tmp_path,
        ranks=Ranks(rank=1, world_size=2),
    )
    assert (second.parent(parent.id).folder / "step.txt").read_text() == "10"


def test_a_parent_that_took_up_a_run_and_had_nothing_left_to_do_has_that_ones_checkpoint(
    front: Any, make: Make, store: Store
) -> None:
    first = front.begin(front.submit())
    save(make(first), 10)
    store.end(first.id, 1, outcome=Outcome.FAILED, failure=Failure.CODE)
    parent = end_well(front, front.begin(front.submit(retry_of=first.id)))
    child = make(front.begin(front.submit(depends_on=(parent.id,))))
    assert (child.parent(parent.id).folder / "step.txt").read_text() == "10"


def test_an_older_checkpoint_never_stands_in_for_a_parents_last(
    front: Any, make: Make, store: Store, settings: Settings
) -> None:
    parent = succeeded(front, make, 10, 20)
    newest = Storage(settings.storage_url).path(store.checkpoints(parent.id)[-1].path)
    Path(newest, "step.txt").write_text("99")
    child = make(front.begin(front.submit(depends_on=(parent.id,))))
    with pytest.raises(StorageError, match=r"last checkpoint of run 1 \(step 20\).*checksum.*put"):
        child.parent(parent.id)
    shutil.rmtree(newest)
    with pytest.raises(StorageError, match=r"last checkpoint of run 1 .*missing.*another run"):
        child.parent(parent.id)


def test_a_parent_that_cannot_serve_is_refused(front: Any, make: Make, store: Store) -> None:
    bare, open_ = succeeded(front, make), front.begin(front.submit())
    failed = front.begin(front.submit())
    save(make(failed), 10)
    store.end(failed.id, 1, outcome=Outcome.FAILED, failure=Failure.CODE)
    child = make(front.begin(front.submit()))
    for run_id, says in {
        bare.id: r"run 1 \(drill\) keeps no checkpoint.*file of weights",
        open_.id: r"run 2 is running.*must have succeeded first \(platform wait 2\)",
        failed.id: r"run 3 is failed.*\(platform retry 3\)",
        99: "no run 99",
    }.items():
        with pytest.raises(SpecError, match=says):
            child.parent(run_id)


def test_what_a_dead_attempt_left_half_written_is_swept(
    front: Any, make: Make, store: Store, settings: Settings
) -> None:
    run = front.begin(front.submit())
    context = make(run)
    save(context, 10)
    folder = Storage(settings.storage_url).folder
    assert folder is not None
    checkpoints = folder / "runs" / str(run.id) / "attempt-1" / "checkpoints"
    (checkpoints / ".partial-x").mkdir()
    (checkpoints / "15").mkdir()
    make(again(front, run)).sweep()
    assert [path.name for path in checkpoints.iterdir()] == ["10"]


def test_a_superseded_attempt_is_stopped_and_writes_nothing_more(
    front: Any, make: Make, store: Store
) -> None:
    run = front.begin(front.submit())
    context = make(run)
    again(front, run)
    with pytest.raises(SupersededError):
        save(context, 10)
    with pytest.raises(SupersededError):
        context.report(step=1, total_steps=2, metrics={})
    with pytest.raises(SupersededError):
        context.stop_requested()
    assert store.checkpoints(run.id) == []


def test_a_cancelled_run_is_told_to_stop(front: Any, make: Make, store: Store) -> None:
    run = front.begin(front.submit())
    context = make(run)
    assert context.stop_requested() is None
    store.request_cancel(run.id, reason="user")
    context.report(step=1, total_steps=2, metrics={})
    context._reporter.flush()  # as its thread does each second
    assert context.stop_requested() == "user"
    assert store.attempts(run.id)[0].phase is Phase.STOPPING


def test_a_signal_is_told_as_a_request_to_stop(front: Any, make: Make) -> None:
    context = make(front.begin(front.submit()))
    context.interrupt("SIGTERM")
    assert context.stop_requested() == "SIGTERM"


def test_what_is_told_while_the_store_is_away_arrives_when_it_is_back(
    front: Any, make: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = front.begin(front.submit())
    context = make(run)
    away = threading.Event()
    away.set()
    for name in ("progress", "add_checkpoint", "add_artifact", "set_phase"):
        real = getattr(store, name)

        def shut(*args: Any, real: Any = real, **more: Any) -> Any:
            if away.is_set():
                raise StoreAwayError("the store is away")
            return real(*args, **more)

        monkeypatch.setattr(store, name, shut)
    context.report(step=1, total_steps=2, metrics={"train_loss": 3.0})
    save(context, 1)
    assert store.checkpoints(run.id) == []
    away.clear()
    context.close()
    assert [one.step for one in store.checkpoints(run.id)] == [1]
    assert store.run(run.id).last == {"train_loss": 3.0}


def test_a_kept_file_is_an_artifact(front: Any, make: Make, store: Store) -> None:
    run = front.begin(front.submit())
    context = make(run)
    (context.workdir / "a.csv").write_text("1")
    context.keep(context.workdir / "a.csv", name="a.csv")
    (kept,) = store.artifacts(run.id)
    assert kept.path == f"runs/{run.id}/attempt-1/artifacts/a.csv"


def test_what_is_left_follows_the_pace_with_its_pauses() -> None:
    pace = Pace()
    for second in range(10):
        pace.tell(second * 4, at_s=float(second))
    assert pace.left_s(76) == pytest.approx(10.0, rel=0.01)
    pace.tell(37, at_s=49.0)  # an evaluation of 40 s
    left_s = pace.left_s(76)
    assert left_s is not None
    assert left_s > 40
    assert pace.left_s(37) == 0


def test_points_that_wait_are_thinned_but_for_epochs() -> None:
    at = datetime.now(UTC)
    points = [Point(i, i // 1000 if i % 1000 == 0 else None, 0.0, at) for i in range(50_000)]
    kept = thinned(points)
    assert len(kept) <= 20_000
    assert sum(point.epoch is not None for point in kept) == 50
    assert FLUSH_S <= 2
