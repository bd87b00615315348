"""A run begins with weights as a method's authors released them, or as another run trained them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs import initial
from jobs.classify import ClassifySpec
from jobs.classify.network import check_initial, make_network
from jobs.classify.run import check, run
from jobs.errors import SpecError
from jobs.job import Parent
from tests.backbones.released_lists import named
from tests.jobs.context import FolderContext

BACKBONE = "mobilenetv2_050/kernel_warehouse(budget=0.5)"
MakeSpec = Callable[..., ClassifySpec]


@pytest.fixture
def released(tmp_path: Path) -> Path:
    file = tmp_path / "released.pth"
    torch.save({"model": named(BACKBONE).drawn()}, file)
    return file


def test_a_release_for_other_classes_fills_all_but_the_classifier(
    make_spec: MakeSpec, released: Path
) -> None:
    spec = make_spec({"backbone": BACKBONE, "initial": str(released)})
    check_initial(spec, classes=10)
    network = make_network(spec, classes=10, device="cpu")
    fresh = make_network(spec.derive(initial="scratch"), classes=10, device="cpu")
    given = named(BACKBONE).drawn()
    for ours, theirs in {
        "bn1.weight": "features.0.1.weight",
        "blocks.6.0.conv_pwl.attention.logits.bias": "features.17.conv.2.attention.fc2.bias",
    }.items():
        assert torch.equal(network.get_parameter(ours), given[theirs])
    bias = "classifier.attention.logits.bias"
    assert torch.equal(network.get_parameter(bias), fresh.get_parameter(bias))


def test_a_release_for_another_budget_is_refused_before_anything_is_built(
    make_spec: MakeSpec, released: Path
) -> None:
    other = make_spec({"backbone": "mobilenetv2_050/kernel_warehouse", "initial": str(released)})
    with pytest.raises(SpecError, match=r"initial: cannot load .* of its 506 tensors"):
        check_initial(other, classes=10)


def test_a_run_may_be_named_in_several_ways_and_is_stored_in_one() -> None:
    assert [initial.canonical(text) for text in ("run:12", " run: 12", "run:#012")] == [
        "run:12"
    ] * 3
    assert initial.run_of("run:12") == 12
    assert initial.canonical("./run:12").endswith("/run:12")
    assert [initial.run_of(text) for text in ("scratch", "pretrained", "/tmp/run:12")] == [None] * 3


@pytest.mark.parametrize("text", ["run:", "run:twelve", "run:-1", "run:1.5", "run:1 2"])
def test_what_only_begins_like_a_run_is_refused(text: str, make_spec: MakeSpec) -> None:
    with pytest.raises(ValueError, match="a run is named by its number, such as run:12"):
        make_spec({"initial": text})


def test_weights_are_compared_by_content_and_not_by_name(tmp_path: Path) -> None:
    names = []
    for name, content in (("a.pt", b"one"), ("b.pt", b"one"), ("c.pt", b"two")):
        (tmp_path / name).write_bytes(content)
        names.append(initial.name_of(str(tmp_path / name)))
    assert names[0] == names[1] != names[2]
    assert names[0].startswith("file#")


class Unlinking(FolderContext):
    """Removes a file as soon as a step was done."""

    gone: Path

    def report(self, **what: Any) -> None:
        self.gone.unlink(missing_ok=True)
        super().report(**what)


def test_a_file_of_weights_need_not_outlive_the_training(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    file = tmp_path / "weights.pt"
    fresh = make_network(make_spec(), classes=10, device="cpu")
    torch.save(fresh.state_dict(), file)
    name = initial.name_of(str(file))
    context = Unlinking(tmp_path / "run")
    context.gone = file
    result = run(make_spec({"initial": str(file)}, epochs=1), context)
    assert not file.exists()
    assert result.facts["initial"] == name


def trained(spec: ClassifySpec, root: Path) -> Parent:
    """Train, and give what a child would get."""
    context = FolderContext(root)
    result = run(spec, context)
    folder = context.resume()
    assert folder is not None
    facts, text = result.facts, spec.backbone
    return Parent("classify", text, spec.model_dump(mode="json"), facts, folder)


def test_a_run_goes_on_from_the_scored_weights_of_the_run_that_it_names(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    parent = trained(make_spec(ema=0.5), tmp_path / "parent")
    spec = make_spec({"initial": "run:7", "seed": 3})
    context = FolderContext(tmp_path / "child", parents={7: parent})
    state = torch.load(parent.folder / "state.pt", weights_only=True)
    network = make_network(spec, classes=10, device="cpu", parent=parent)
    ours = network.state_dict()
    assert any(not torch.equal(ours[name], tensor) for name, tensor in state["network"].items())
    for name, tensor in state["ema"].items():
        assert torch.equal(ours[name], tensor), name
    check(spec, context)
    result = run(spec, context)
    first = context.series("train_loss")[0]
    assert first < trained_from_nothing(make_spec, tmp_path)
    facts = parent.facts
    known = f"{facts['dataset_fingerprint']}/{facts['recipe_hash']}/scratch/224"
    assert result.facts["initial"] == f"classify#{known}"


def trained_from_nothing(make_spec: MakeSpec, tmp_path: Path) -> float:
    """The loss of the first step of a run with random weights."""
    context = FolderContext(tmp_path / "fresh")
    run(make_spec({"seed": 3}, epochs=1), context)
    return context.series("train_loss")[0]


def test_a_run_with_other_classes_fills_all_but_the_classifier(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    parent = trained(make_spec(), tmp_path / "parent")
    spec = make_spec({"initial": "run:7"})
    check_initial(spec, classes=4, parent=parent)
    network = make_network(spec, classes=4, device="cpu", parent=parent)
    fresh = make_network(spec.derive(initial="scratch"), classes=4, device="cpu")
    state = torch.load(parent.folder / "state.pt", weights_only=True)["network"]
    assert torch.equal(network.get_parameter("conv1.0.weight"), state["conv1.0.weight"])
    assert torch.equal(network.get_parameter("fc.weight"), fresh.get_parameter("fc.weight"))


def test_a_run_whose_weights_do_not_fit_is_refused_before_a_device_is_taken(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    parent = trained(make_spec(), tmp_path / "parent")
    other = make_spec({"initial": "run:7", "backbone": "resnet10t/conv"})
    with pytest.raises(SpecError, match=r"initial: cannot load"):
        check(other, FolderContext(tmp_path / "child", parents={7: parent}))
