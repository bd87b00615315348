"""``platform attention`` over a run that was really trained."""

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

BACKBONES = ("resnet20_cifar/kernel_warehouse", "resnet20_cifar/odconv", "resnet20_cifar/conv")
WAREHOUSES, ONE_KERNEL, PLAIN = 1, 2, 3
"""Numbers of their runs."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with a run of each backbone; not to be changed."""
    home = tmp_path_factory.mktemp("trained")
    settings = load({"CONVOY_HOME": str(home)})
    recipe = {"base": "digits_quick", "epochs": 1, "warmup_epochs": 0, "image_size": 8}
    values = {"data": "digits", "recipe": recipe, "train_pct": 10.0}
    with Store.create(settings.store_url) as store:
        store.submit(prepare("classify", values, wishes=Wishes(owner="ada"), backbones=BACKBONES))
        Dispatcher(store, InlineLauncher(), settings).run(until_idle=True)
        assert store.counts()[RunState.SUCCEEDED] == len(BACKBONES)
    return home


@pytest.fixture
def look(trained: Path) -> Command:
    """The command over it."""
    return Command(trained)


@pytest.fixture
def broken(trained: Path, tmp_path: Path) -> Command:
    """The same with a checkpoint that was changed after it was written."""
    home = tmp_path / "broken"
    shutil.copytree(trained, home)
    (file,) = (home / "storage" / "runs" / str(WAREHOUSES)).rglob("state.pt")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return Command(home)


def test_the_maps_of_a_run_are_told(look: Command) -> None:
    answer = look("attention", str(WAREHOUSES), "--count", "3")
    assert answer.status == 0
    assert "stage0_conv  Attention (alpha), temperature 0         74 x 74" in answer.out
    assert "3 images" in answer.out


def test_the_matrices_go_into_json(look: Command) -> None:
    told: dict[str, Any] = look("attention", str(WAREHOUSES), "--json", "--class", "4").json()
    assert all(name.startswith("val/4/") for name in told["images"])
    assert len(told["images"]) == 16
    first, second, *_ = told["maps"]
    assert [first["of"], second["of"]] == ["stage0_conv"] * 2
    assert [row.index(1.0) for row in first["values"]] == list(range(74))
    assert len(second["values"]) == sum(part["length"] for part in second["rows"]["sections"])
    assert any(value < 0 for row in second["values"] for value in row)


def test_own_images_are_shown(look: Command, trained: Path, tmp_path: Path) -> None:
    images = sorted((trained / "cache" / "digits" / "val" / "8").iterdir())[:2]
    words = [word for image in images for word in ("--image", str(image))]
    told = look("attention", str(WAREHOUSES), "--json", *words).json()
    assert told["images"] == [str(image) for image in images]

    text = tmp_path / "notes.txt"
    text.write_text("no image")
    answer = look("attention", str(WAREHOUSES), "--image", str(text))
    assert (answer.status, answer.out) == (1, "")
    assert f"{text} cannot be read as an image: not an image" in answer.err


def test_the_temperature_of_the_checkpoint_is_told(look: Command) -> None:
    out = look("attention", str(WAREHOUSES), "--as-scored", "--count", "1").out
    assert "temperature 0.95" in out  # after the first of 20 epochs


def test_a_run_without_attention_names_methods_that_have_it(look: Command) -> None:
    answer = look("attention", str(PLAIN))
    assert answer.status == 1
    assert "resnet20_cifar/conv" in answer.err
    assert "kernel_warehouse" in answer.err


def test_a_method_with_one_kernel_says_so(look: Command) -> None:
    answer = look("attention", str(ONE_KERNEL))
    assert answer.status == 1
    assert "several kernels" in answer.err


def test_a_step_without_a_checkpoint_lists_those_that_are_kept(look: Command) -> None:
    answer = look("attention", str(WAREHOUSES), "--step", "999")
    assert answer.status == 1
    assert "step 999; kept: " in answer.err


def test_a_checkpoint_that_was_changed_is_not_read(broken: Command) -> None:
    answer = broken("attention", str(WAREHOUSES))
    assert answer.status == 1
    assert "does not match its checksum" in answer.err


def test_a_checkpoint_that_is_gone_is_named(broken: Command) -> None:
    shutil.rmtree(broken.home / "storage" / "runs" / str(WAREHOUSES))
    answer = broken("attention", str(WAREHOUSES))
    assert answer.status == 1
    assert "is not whole" in answer.err


def test_torch_is_not_loaded_to_refuse(look: Command) -> None:
    answer = look.apart("attention", str(PLAIN), PYTHONPROFILEIMPORTTIME="1")
    assert answer.status == 1
    loaded = {line.rpartition("|")[2].strip() for line in answer.err.splitlines()}
    assert "convoy.inspection" in loaded
    assert "torch" not in loaded
