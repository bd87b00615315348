"""A run begins with weights as a method's authors released them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from jobs.classify import ClassifySpec
from jobs.classify.network import check_initial, make_network
from jobs.errors import SpecError
from tests.backbones.released_lists import named

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
