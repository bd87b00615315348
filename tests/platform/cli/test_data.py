"""A data set looked at before anything is submitted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.jobs import few_scenes


def test_an_embedded_set_is_told_by_counts_and_fingerprint(command: Any) -> None:
    answer = command("data", "digits")
    assert answer.status == 0
    assert "to classify; fingerprint " in answer.out
    assert "1,438 train images, 359 val images" in answer.out
    assert answer.out.endswith("nothing is in the way of a run\n")


def test_broken_objects_are_named_and_end_with_status_1(command: Any, tmp_path: Path) -> None:
    scenes = few_scenes.write(tmp_path / "cache", tmp_path / "scenes")
    file = scenes / "annotations" / "instances_train2017.json"
    document = json.loads(file.read_text())
    document["annotations"][0]["category_id"] = 99
    file.write_text(json.dumps(document))
    (scenes / "val2017" / "000001.bmp").unlink()
    answer = command("data", str(scenes))
    assert answer.status == 1
    assert "category that is not listed" in answer.out
    assert "000001.bmp" in answer.out
    assert "--skip-bad" in answer.out
    found = command("data", str(scenes), "--json").json()
    assert found["task"] == "detect"
    assert found["counts"]["val images"] == 3


def test_a_broken_photograph_is_named(command: Any, tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split / "cat").mkdir(parents=True)
        (tmp_path / split / "cat" / "1.png").write_bytes(b"no image")
    answer = command("data", str(tmp_path))
    assert answer.status == 1
    assert "train/cat/1.png: not an image" in answer.out


def test_a_folder_that_is_not_there_is_said_so(command: Any, tmp_path: Path) -> None:
    answer = command("data", str(tmp_path / "nothing"))
    assert answer.status == 1
    assert "no data folder" in answer.whole
