"""What an attempt prints and logs goes to its file, facts and all."""

from __future__ import annotations

import logging
from pathlib import Path

from convoy.execution.capture import captured


def test_a_record_is_written_with_the_facts_it_carries(tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    with captured(file, own_process=False):
        logging.getLogger("jobs.test").info(
            "epoch done", extra={"epoch": 3, "train_loss": 0.1234567891, "_of_a_library": 1}
        )
        print("printed")  # noqa: T201 (what is tested)
    lines = file.read_text("utf-8").splitlines()
    assert lines[0].endswith("INFO jobs.test: epoch done epoch=3 train_loss=0.123457")
    assert lines[1] == "printed"
