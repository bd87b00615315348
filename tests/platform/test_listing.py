"""A run in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from convoy import listing
from convoy.records import NewRun
from convoy.states import Failure, RunState
from convoy.store import Store


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "Attempt 1: the data are missing; not tried again.\n12 images cannot be read\n"
            "Nothing was kept: there is no checkpoint.\nNext: `platform logs 1`",
            "data: 12 images cannot be read",
        ),
        ("Attempt 1: it was lost.\nKept: step 3.\nNext: x", "data: Attempt 1: it was lost."),
        ("Run 3 has failed.", "data: Run 3 has failed."),
        ("", "data"),
    ],
)
def test_a_failed_run_is_listed_with_its_evidence(
    text: str,
    line: str,
    sqlite_template: Path,
    tmp_path: Path,
    new_run: Callable[..., NewRun],
) -> None:
    file = tmp_path / "store.db"
    file.write_bytes(sqlite_template.read_bytes())
    with Store.open(f"sqlite:///{file}") as store:
        (run,) = store.submit([new_run()])
    failed = replace(run, state=RunState.FAILED, failure=Failure.DATA, failure_text=text)
    assert listing.progress_text(failed) == line
    longer = replace(failed, failure_text=f"a\n{'word ' * 100}")
    assert len(listing.progress_text(longer)) < 200
