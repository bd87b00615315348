from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from convoy import demo
from convoy.records import Run
from convoy.repeatable import Part
from convoy.states import Failure, Outcome, RunState
from convoy.store import Store

PAIRS = len(demo.METHODS)
DETECTORS = len(demo.DETECTING)
RUNS = DETECTORS + 2 * PAIRS


@pytest.fixture
def store_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A new, empty store on SQLite; that the store is alike on PostgreSQL, its own tests hold."""
    file = tmp_path / "store.db"
    file.write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{file}"


def ask(store: Store, *, again: bool = False) -> list[Part]:
    return demo.enqueue(store, owner="ada", again=again)


def fail(store: Store, run_id: int) -> Run:
    term = store.lead("desk", host="here", pid=1, capacity={}, lease_s=600)
    assert term is not None
    attempt = store.claim(run_id, dispatcher="desk", term=term, deadline_s=600)
    assert attempt is not None
    store.begin(run_id, attempt.number, node="n1", pid=7, environment={}, lease_s=600)
    return store.end(
        run_id, attempt.number, outcome=Outcome.FAILED, failure=Failure.CODE, error="boom"
    )


def test_each_backbone_is_trained_and_then_measured_at_the_same_size() -> None:
    runs = demo.plan(owner="ada", seed=0)
    assert {run.kind for run in runs[:DETECTORS]} == {"detect"}
    trained, measured = runs[DETECTORS:-PAIRS], runs[-PAIRS:]
    assert [run.backbone for run in trained] == [run.backbone for run in measured]
    assert {run.kind for run in trained} == {"classify"}
    assert {run.kind for run in measured} == {"benchmark"}
    assert {run.spec["recipe"]["image_size"] for run in trained} == {
        run.spec["image_size"] for run in measured
    }
    assert min(run.priority for run in trained) > max(run.priority for run in measured)


def test_a_second_call_finds_the_runs_of_the_first(store: Store) -> None:
    first, second = ask(store), ask(store)
    assert all(part.is_new for part in first)
    assert not any(part.is_new for part in second)
    assert [part.run.id for part in first] == [part.run.id for part in second]


def test_again_trains_with_a_new_seed_and_measures_nothing_twice(store: Store) -> None:
    ask(store)
    parts = ask(store, again=True)
    assert [part.is_new for part in parts] == [True] * (DETECTORS + PAIRS) + [False] * PAIRS
    assert {part.run.spec["seed"] for part in parts if part.is_new} == {1}


def test_what_failed_is_taken_up_by_a_new_run(store: Store) -> None:
    failed = fail(store, ask(store)[0].run.id)
    assert failed.state is RunState.FAILED
    parts = ask(store)
    assert parts[0].is_new
    assert parts[0].run.retry_of == failed.id
    assert ask(store)[0].run.id == parts[0].run.id


def test_the_time_of_a_run_is_told_by_its_last_attempt(store: Store) -> None:
    run_id = ask(store)[0].run.id
    fail(store, run_id)
    run, (attempt,) = store.run(run_id), store.attempts(run_id)
    spans = demo.spans(run, [attempt])
    assert spans.queued == pytest.approx((attempt.created_at - run.created_at).total_seconds())
    assert spans.starting is not None
    assert (spans.preparing, spans.working) == (None, None)
    assert demo.spans(run, []) == demo.Spans(None, None, None, None)


def read_until(process: subprocess.Popen[str], word: str) -> str:
    """What a process says, to the first line with the word."""
    assert process.stdout
    said = ""
    for line in process.stdout:
        said += line
        if word in line:
            return said
    raise AssertionError(f"it ended without having said {word!r}:\n{said}")


def read_all(process: subprocess.Popen[str]) -> str:
    """What a process says until it ends."""
    assert process.stdout
    said = process.stdout.read()
    process.wait()
    return said


@pytest.fixture
def call(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start ``platform demo`` as a person does, and end it after the test."""
    living: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "convoy", "--home", str(tmp_path / "home"), "demo", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        living.append(process)
        return process

    yield start
    for process in living:
        if process.poll() is None:
            process.terminate()
            process.wait(60)
        assert process.stdout
        process.stdout.close()


@pytest.mark.slow
@pytest.mark.ray
def test_an_interrupted_demonstration_goes_on_and_a_third_call_only_shows_it(
    call: Callable[..., subprocess.Popen[str]],
) -> None:
    first = call()
    read_until(first, "succeeded")
    first.send_signal(signal.SIGINT)
    assert "runs are done and kept" in read_all(first)
    assert first.returncode == 1

    second = call()
    said = read_all(second)
    assert second.returncode == 0, said
    assert re.search(r"[1-9]\d* finished earlier", said)
    for method in demo.METHODS:
        assert f"{demo.NETWORK}/{method} " in said
    for backbone in demo.DETECTING:
        assert f"{backbone} " in said

    third = call()
    said = read_all(third)
    assert third.returncode == 0, said
    assert f"0 queued now, {RUNS} finished earlier" in said
