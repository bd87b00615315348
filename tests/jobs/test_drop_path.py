from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from timm.layers.drop import DropPath
from torch import nn

from jobs.classify import ClassifySpec, precheck
from jobs.classify.network import make_network
from jobs.errors import SpecError

MakeSpec = Callable[..., ClassifySpec]


def rates(network: nn.Module) -> list[float]:
    return [part.drop_prob for part in network.modules() if isinstance(part, DropPath)]


def made(make_spec: MakeSpec, backbone: str, **recipe: Any) -> nn.Module:
    return make_network(make_spec({"backbone": backbone}, **recipe), classes=10, device="meta")


def test_one_rate_for_all_blocks_reaches_the_first_too(make_spec: MakeSpec) -> None:
    network = made(
        make_spec, "resnet18/kernel_warehouse", drop_path=0.1, drop_path_course="constant"
    )
    assert rates(network) == [0.1] * 8


def test_else_the_rate_rises_to_the_last_block(make_spec: MakeSpec) -> None:
    found = rates(made(make_spec, "resnet18/conv", drop_path=0.7))
    assert found == pytest.approx([0.1 * place for place in range(1, 8)])


@pytest.mark.parametrize("course", ["linear", "constant"])
def test_a_network_without_paths_refuses_to_drop_them(make_spec: MakeSpec, course: str) -> None:
    with pytest.raises(SpecError, match=r"vgg11/conv has no place for .*; train it with 0"):
        made(make_spec, "vgg11/conv", image_size=32, drop_path=0.1, drop_path_course=course)


@pytest.mark.parametrize("name", ["dropout", "drop_path"])
def test_a_rate_that_a_network_would_ignore_is_refused_at_submission(
    make_spec: MakeSpec, name: str
) -> None:
    spec = make_spec({"backbone": "shufflenet_v2_x1_0/conv"}, **{name: 0.2})
    with pytest.raises(SpecError, match=rf"recipe.{name} is 0.2, and shufflenet_v2_x1_0 has no"):
        precheck(spec)
    precheck(spec.derive(recipe=spec.recipe.derive(**{name: 0.0})))
