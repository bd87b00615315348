"""``platform detections`` over runs that found the objects of made images."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from convoy.settings import load
from convoy.storage import RunPaths
from convoy.store import Store
from tests.dashboard import detected, filling
from tests.platform.cli.conftest import Command

MASKS, AGAIN, ELSEWHERE, TRAINED = 1, 2, 3, 4
"""Numbers of the runs."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with detection runs and one that classifies."""
    folder = tmp_path_factory.mktemp("detections")
    settings = load({"CONVOY_HOME": str(folder)})
    split = detected.made_split(tmp_path_factory.mktemp("split"))
    with Store.create(settings.store_url) as store:
        term = filling.lead(store)
        for seed, fingerprint in ((1, "here"), (2, "here"), (3, "there")):
            detected.detect(store, settings, term, split=split, seed=seed, fingerprint=fingerprint)
        filling.classify(store, term, backbone=next(iter(filling.ENTRIES)), seed=0)
    return folder


@pytest.fixture
def look(home: Path) -> Command:
    """The command over it."""
    return Command(home)


def test_categories_are_told_the_best_first(look: Command) -> None:
    answer = look("detections", str(MASKS))
    assert answer.status == 0
    head, *rows = [
        line.split() for line in answer.out.splitlines() if "\u2500" not in line and line
    ]
    assert head[:5] == ["category", "objects", "images", "Mask", "AP"]
    assert {row[0] for row in rows[:2]} == {"cat", "dog"}
    assert rows[-1] == ["absent", "0", "0"]


def test_another_run_is_told_beside(look: Command) -> None:
    answer = look("detections", str(MASKS), "--against", str(AGAIN))
    assert f"run {AGAIN}" in answer.out
    assert f"Run {MASKS} has a higher Mask AP than run {AGAIN} in" in answer.err


def test_json_holds_every_figure(look: Command) -> None:
    told = look("detections", str(MASKS), "--against", str(AGAIN), "--json").json()
    assert (told["run"], told["against"], told["measure"]) == (MASKS, AGAIN, "mask_ap_pct")
    first = told["categories"][0]
    assert first["difference"] == pytest.approx(first["mask_ap_pct"] - first["beside"])
    assert "pictures" not in told


def test_pictures_are_copied(look: Command, tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder"
    answer = look("detections", str(MASKS), "--pictures", str(target))
    assert answer.status == 0
    assert f"6 pictures in {target}" in answer.err
    files = sorted(target.iterdir())
    assert [file.name for file in files] == [f"{number:03d}.png" for number in range(6)]
    with Image.open(files[0]) as picture:
        assert picture.format == "PNG"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((str(TRAINED),), "has no scores by category"),
        ((str(MASKS), "--against", str(ELSEWHERE)), "were scored on different images"),
        ((str(MASKS), "--pictures", "/dev/null/pictures"), "cannot write pictures into"),
        (("99",), "99"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_words(
    look: Command, words: tuple[str, ...], expected: str
) -> None:
    answer = look("detections", *words)
    assert answer.status == 1
    assert answer.err.startswith("error: ")
    assert expected in answer.err


def test_pictures_that_are_gone_are_named(look: Command, home: Path, tmp_path: Path) -> None:
    picture = home / "storage" / RunPaths(AGAIN).artifact(1, "samples/003.png")
    content = picture.read_bytes()
    picture.unlink()
    try:
        answer = look("detections", str(AGAIN), "--pictures", str(tmp_path))
    finally:
        picture.write_bytes(content)
    assert answer.status == 1
    assert f"samples/003.png of run {AGAIN} is gone" in answer.err
