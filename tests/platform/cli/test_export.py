"""``platform export`` over runs that were really trained, and what can be done with its file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from backbones import weights
from backbones.release import own_state
from convoy.dispatcher import Dispatcher
from convoy.launchers.inline import InlineLauncher
from convoy.settings import load
from convoy.states import RunState
from convoy.store import Store
from convoy.submission import Wishes, prepare
from tests.jobs import few_scenes
from tests.jobs.few_scenes import make_spec
from tests.platform.cli.conftest import Command

WAREHOUSES, AVERAGED, LATENCY = 1, 2, 3
"""Numbers of the runs."""
BACKBONE = "resnet20_cifar/kernel_warehouse"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with a run of raw weights, one of averaged ones and one without any."""
    home = tmp_path_factory.mktemp("trained")
    settings = load({"CONVOY_HOME": str(home)})
    recipe = {"base": "digits_quick", "epochs": 1, "warmup_epochs": 0, "image_size": 8}
    values = {"data": "digits", "train_pct": 10.0, "backbone": BACKBONE}
    timed = {"image_size": 8, "classes": 10, "backbone": "resnet20_cifar", "min_repeats": 10}
    wishes = Wishes(owner="ada")
    with Store.create(settings.store_url) as store:
        for ema in (None, 0.5):
            spec = {**values, "recipe": {**recipe, "ema": ema}}
            store.submit(prepare("classify", spec, wishes=wishes))
        store.submit(prepare("benchmark", {**timed, "budget_s": 0.1}, wishes=wishes))
        Dispatcher(store, InlineLauncher(), settings).run(until_idle=True)
        assert store.counts()[RunState.SUCCEEDED] == 3
    return home


@pytest.fixture
def call(trained: Path) -> Command:
    return Command(trained)


@pytest.mark.parametrize(("run_id", "part"), [(WAREHOUSES, "network"), (AVERAGED, "ema")])
def test_the_weights_that_were_scored_come_out_whole(
    run_id: int, part: str, call: Command, trained: Path, tmp_path: Path
) -> None:
    file = tmp_path / "weights.safetensors"
    answer = call("export", str(run_id), "--to", str(file), "--json")
    assert answer.status == 0
    assert answer.json()["ema"] is (part == "ema")
    network, fit = weights.restore(file)
    (checkpoint,) = (trained / "storage" / "runs" / str(run_id)).rglob("state.pt")
    kept = torch.load(checkpoint, weights_only=True)[part]
    assert all(torch.equal(kept[name], value) for name, value in network.state_dict().items())
    assert load_file(file).keys() == own_state(network).keys()
    # one of twenty epochs of warm-up: 0.95, less the last step
    assert fit.temperature == pytest.approx(0.95, abs=0.02)
    assert fit.temperature_from == "file"


def test_a_detector_comes_out_whole_and_begins_another(tmp_path: Path) -> None:
    scenes = few_scenes.write(tmp_path / "cache", tmp_path / "scenes")
    home, file = tmp_path / "home", tmp_path / "detector.safetensors"
    settings = load({"CONVOY_HOME": str(home)})
    wishes, call = Wishes(owner="ada"), Command(home)
    spec = make_spec(scenes, {"backbone": "test_resnet/kernel_warehouse"}, epochs=1)
    with Store.create(settings.store_url) as store:
        store.submit(prepare("detect", spec.model_dump(mode="json"), wishes=wishes))
        Dispatcher(store, InlineLauncher(), settings).run(until_idle=True)
        answer = call("export", "1", "--to", str(file))
        assert answer.status == 0, answer.whole
        assert "weights of test_resnet/kernel_warehouse after 1 epochs" in answer.out
        (checkpoint,) = (home / "storage").rglob("state.pt")
        kept = torch.load(checkpoint, weights_only=True)["network"]
        written = load_file(file)
        assert all(torch.equal(kept[name], tensor) for name, tensor in written.items())
        values = spec.derive(initial=str(file), seed=1).model_dump(mode="json")
        store.submit(prepare("detect", values, wishes=wishes))
        Dispatcher(store, InlineLauncher(), settings).run(until_idle=True)
        done = store.run(2)
        assert done.state is RunState.SUCCEEDED, done.failure_text
        assert done.result is not None
        assert done.result["facts"]["initial"].startswith("file#")


def test_a_file_is_described_before_it_is_trained_from(call: Command, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    answer = call("export", str(WAREHOUSES), "--to", str(file))
    assert f"weights of {BACKBONE} after 1 epochs" in answer.out
    assert f"platform describe '{BACKBONE}' --weights {file} --classes 10" in answer.err
    answer = call("describe", BACKBONE, "--weights", str(file), "--classes", "10")
    assert answer.status == 0
    assert "with the names of this project; temperature 0.95" in answer.out
    assert f"--set initial={file}" in answer.err
    (found,) = call(
        "describe", BACKBONE, "--weights", str(file), "--classes", "10", "--json"
    ).json()
    assert found["fits"] is True
    assert found["written_as"] == BACKBONE


def test_what_does_not_fit_is_listed_in_full(call: Command, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    call("export", str(WAREHOUSES), "--to", str(file))
    other = f"{BACKBONE}(budget=4)"
    answer = call("describe", other, "--weights", str(file), "--classes", "10")
    assert answer.status == 1
    assert answer.err.startswith(
        f"error: cannot load {file} (written as {BACKBONE}, 10 classes) into {other}"
    )
    assert len(answer.out.splitlines()) > 20
    assert all(line.startswith("misshapen") for line in answer.out.splitlines())
    asked = call("describe", other, "--weights", str(file), "--classes", "10", "--json")
    assert asked.status == 1
    (found,) = asked.json()
    assert found["fits"] is False
    assert len(found["misshapen"]) == len(answer.out.splitlines())


def test_another_run_begins_with_them(call: Command, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    call("export", str(WAREHOUSES), "--to", str(file))
    answer = call(
        *("submit", "classify", BACKBONE, "--set", "data=digits", "--set", f"initial={file}"),
        *("--set", "recipe=digits_quick", "--dry-run"),
    )
    assert answer.status == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((str(LATENCY),), "is a benchmark; only classify and detect runs have weights"),
        ((str(WAREHOUSES), "--step", "3"), "keeps no checkpoint of step 3; kept: "),
        (("99",), "99"),
    ],
)
def test_a_run_without_such_weights_is_refused(
    words: tuple[str, ...], said: str, call: Command, tmp_path: Path
) -> None:
    answer = call("export", *words, "--to", str(tmp_path / "weights.safetensors"))
    assert answer.status == 1
    assert said in answer.err
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_stays_unless_told(call: Command, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_text("mine")
    words = ("export", str(WAREHOUSES), "--to", str(file))
    answer = call(*words)
    assert answer.status == 1
    assert "is there already; name another file, or say --force" in answer.err
    assert file.read_text() == "mine"
    assert call(*words, "--force").status == 0
    assert file.stat().st_size > 4


def test_a_name_that_promises_another_format_is_refused(call: Command, tmp_path: Path) -> None:
    answer = call("export", str(WAREHOUSES), "--to", str(tmp_path / "weights.pth"))
    assert answer.status == 1
    assert answer.err.rstrip().endswith("would hold safetensors; name it weights.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_spoiled_checkpoint_is_not_exported(trained: Path, tmp_path: Path) -> None:
    home = tmp_path / "broken"
    shutil.copytree(trained, home)
    (spoiled,) = (home / "storage" / "runs" / str(WAREHOUSES)).rglob("state.pt")
    content = bytearray(spoiled.read_bytes())
    content[len(content) // 2] ^= 1
    spoiled.write_bytes(content)
    file = tmp_path / "weights.safetensors"
    answer = Command(home)("export", str(WAREHOUSES), "--to", str(file))
    assert answer.status == 1
    assert "does not match its checksum" in answer.err
    assert not file.exists()
