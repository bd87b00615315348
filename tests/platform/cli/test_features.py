"""``platform features`` over runs that were really trained or measured."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from convoy.dispatcher import Dispatcher
from convoy.launchers.inline import InlineLauncher
from convoy.settings import load
from convoy.states import RunState
from convoy.store import Store
from convoy.submission import Wishes, prepare
from tests.platform.cli.conftest import Command

TRAINED, MEASURED = 1, 2
"""Numbers of the runs."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with a training run and a measurement; not to be changed."""
    home = tmp_path_factory.mktemp("trained")
    settings = load({"CONVOY_HOME": str(home)})
    recipe = {"base": "digits_quick", "epochs": 1, "warmup_epochs": 0, "image_size": 8}
    values = {"data": "digits", "recipe": recipe, "train_pct": 10.0}
    protocol = {"image_size": 8, "classes": 10, "min_repeats": 10, "budget_s": 0.1}
    with Store.create(settings.store_url) as store:
        for kind, given in (("classify", values), ("benchmark", protocol)):
            backbones = ("resnet20_cifar/spconv",)
            store.submit(prepare(kind, given, wishes=Wishes(owner="ada"), backbones=backbones))
        Dispatcher(store, InlineLauncher(), settings).run(until_idle=True)
        assert store.counts()[RunState.SUCCEEDED] == 2
    return home


@pytest.fixture
def look(trained: Path) -> Command:
    """The command over it."""
    return Command(trained)


def test_the_last_block_of_each_stage_is_told(look: Command) -> None:
    answer = look("features", str(TRAINED), "--count", "3")
    assert answer.status == 0
    lines = [line.split() for line in answer.out.splitlines() if "layer" in line]
    assert [line[2] for line in lines] == ["layer1.2", "layer2.2", "layer3.2"]
    assert [line[3:6] for line in lines] == [
        ["16", "of", "8x8"],
        ["32", "of", "4x4"],
        ["64", "of", "2x2"],
    ]
    assert "3 images" in answer.out
    assert "|cosine| of at least 0.9" in answer.err


def test_the_blocks_of_a_stage_are_told(look: Command) -> None:
    told = look("features", str(TRAINED), "--stage", "1", "--correlation", "--json").json()
    assert told["measure"] == "correlation"
    assert [block["module"] for block in told["blocks"]] == ["layer2.0", "layer2.1", "layer2.2"]
    assert all("similarity" not in block for block in told["blocks"])


def test_a_block_is_told_in_full(look: Command, trained: Path) -> None:
    images = sorted((trained / "cache" / "digits" / "val" / "8").iterdir())[:2]
    words = [word for image in images for word in ("--image", str(image))]
    words += ["--stage", "0", "--block", "1"]
    told: dict[str, Any] = look("features", str(TRAINED), "--json", *words).json()
    assert told["images"] == [str(image) for image in images]
    (block,) = told["blocks"]
    assert (block["maps"], block["height"], block["width"]) == (16, 8, 8)
    assert [len(row) for row in block["similarity"]] == [16] * 16
    assert len(block["channels"]) == 16
    best = block["pairs"][0]
    assert block["similarity"][best["first"]][best["second"]] == best["similarity"]
    assert block["channels"][best["first"]]["nearest"] == best["second"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--stage", "9"), "no stage 9; this network has 0, 1, 2"),
        (("--stage", "1", "--block", "5"), "stage 1 has no block 5, only 0, 1, 2"),
        (("--step", "999"), "step 999; kept: "),
        (("--class", "seven"), "no class 'seven'"),
        (("--image", "gone.png"), "gone.png cannot be opened"),
    ],
)
def test_what_there_is_not_is_named(look: Command, words: tuple[str, ...], message: str) -> None:
    answer = look("features", str(TRAINED), *words)
    assert (answer.status, answer.out) == (1, "")
    assert message in answer.err


def test_a_block_without_its_stage_is_misuse(look: Command) -> None:
    answer = look("features", str(TRAINED), "--block", "1")
    assert answer.status == 2
    assert "--stage" in answer.err


def test_a_run_of_another_kind_is_refused_without_torch(look: Command) -> None:
    answer = look.apart("features", str(MEASURED), PYTHONPROFILEIMPORTTIME="1")
    assert answer.status == 1
    assert "run 2 (benchmark of resnet20_cifar/spconv) keeps no network" in answer.err
    loaded = {line.rpartition("|")[2].strip() for line in answer.err.splitlines()}
    assert "convoy.inspection" in loaded
    assert "torch" not in loaded


def test_a_checkpoint_that_is_gone_is_named(trained: Path, tmp_path: Path) -> None:
    home = tmp_path / "broken"
    shutil.copytree(trained, home)
    shutil.rmtree(home / "storage" / "runs" / str(TRAINED))
    answer = Command(home)("features", str(TRAINED))
    assert answer.status == 1
    assert "is not whole" in answer.err
