from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from convoy.records import NewRun, Run
from convoy.states import Phase, RunState
from convoy.store import Store
from convoy.terminal import progress


@pytest.fixture
def queued(sqlite_template: Path, tmp_path: Path, new_run: Callable[..., NewRun]) -> Run:
    file = tmp_path / "store.db"
    file.write_bytes(sqlite_template.read_bytes())
    with Store.open(f"sqlite:///{file}") as store:
        return store.submit([new_run()])[0]


def running(run: Run, *, step: int) -> Run:
    return replace(
        run, state=RunState.RUNNING, phase=Phase.RUNNING, attempt=1, step=step, total_steps=100
    )


def test_without_a_terminal_each_change_is_told_once(
    queued: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.showing() as look:
        for run in (queued, running(queued, step=1), running(queued, step=2)):
            look([run])
        look([replace(queued, state=RunState.SUCCEEDED, attempt=1)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "running" in lines[0]
    assert "succeeded" in lines[1]


def test_without_a_terminal_silence_is_short(
    queued: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SILENCE_S", 0.0)
    with progress.showing() as look:
        look([running(queued, step=42)])
        look([running(queued, step=43)])
    out = capsys.readouterr().out
    assert "43 %" in out
    assert "0 of 1 runs done" in out


def test_on_a_terminal_each_run_has_a_row_and_a_bar(queued: Run) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    console.print(progress.drawing([queued, running(queued, step=50)], elapsed_s=61.0))
    assert isinstance(console.file, io.StringIO)
    rows = console.file.getvalue().splitlines()
    assert len(rows) == 3
    assert "━" in rows[1]
    assert "50 %" in rows[1]
    assert rows[2].startswith("0 of 2 runs done")
