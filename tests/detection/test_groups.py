"""Which parameters of a detector decay, and which learn more slowly."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

from backbones.network_names import convnext_original
from detection.detector import make_detector
from detection.groups import Decays, Group, parameter_groups
from jobs.training.optimiser import LR_SHARE

# after detection, which makes mmdet importable
from mmdet.engine.optimizers import layer_decay_optimizer_constructor as theirs  # isort: skip

PREFIX = "backbone.pyramid.network."


@cache
def detector(backbone: str, **options: Any) -> nn.Module:
    return make_detector("mask_rcnn", backbone=backbone, classes=80, device="meta", **options)


def shares(network: nn.Module, groups: list[Group]) -> dict[str, float]:
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {names[id(one)]: group["lr_share"] for group in groups for one in group["params"]}


def test_by_default_all_that_learns_is_one_group_that_decays() -> None:
    network = detector("resnet18/conv", frozen_stages=1)
    (group,) = parameter_groups(network, weight_decay=1e-4)
    assert (group["weight_decay"], group["lr_share"]) == (1e-4, 1.0)
    learning = [id(one) for one in network.parameters() if one.requires_grad]
    assert [id(one) for one in group["params"]] == learning
    assert len(learning) < len(list(network.parameters()))


@pytest.mark.parametrize("backbone", ["resnet18/kernel_warehouse", "convnext_atto/conv"])
@pytest.mark.parametrize("decays", ["all", "not_norms", "matrices"])
@pytest.mark.parametrize("layer_decay", [1.0, 0.8])
def test_each_parameter_is_in_one_group(
    backbone: str, *, decays: Decays, layer_decay: float
) -> None:
    network = detector(backbone)
    groups = parameter_groups(network, weight_decay=0.05, decays=decays, layer_decay=layer_decay)
    found = [id(one) for group in groups for one in group["params"]]
    assert sorted(found) == sorted(id(one) for one in network.parameters())
    torch.optim.SGD([dict(group) for group in groups], lr=0.1)


def test_norms_and_nothing_else_can_be_kept_from_decaying() -> None:
    network = detector("resnet18/kernel_warehouse", output_norms=True)
    groups = parameter_groups(network, weight_decay=0.05, decays="not_norms")
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    exempt = {
        names[id(one)] for group in groups if not group["weight_decay"] for one in group["params"]
    }
    assert f"{PREFIX}bn1.weight" in exempt
    assert f"{PREFIX}layer1.0.conv1.attention.norm.bias" in exempt
    assert "backbone.pyramid.norms.3.weight" in exempt
    assert all(network.get_parameter(name).ndim == 1 for name in exempt)
    assert not {name for name in exempt if not name.startswith("backbone.")}


def test_layers_of_convnext_are_those_of_mmdets_rule() -> None:
    network = detector("convnext_tiny/conv", output_norms=True)
    inside = network.get_submodule(PREFIX.removesuffix("."))
    rename = convnext_original(inside)
    found = shares(network, parameter_groups(network, weight_decay=0, layer_decay=0.95, layers=6))
    assert len(found) == len(list(network.named_parameters()))
    for name, share in found.items():
        module, _, parameter = name.removeprefix(PREFIX).rpartition(".")
        is_inside = name.startswith(PREFIX)
        known = f"backbone.{rename(module)}.{parameter}" if is_inside else name
        layer = theirs.get_layer_id_for_convnext(known, 6)
        assert share == pytest.approx(0.95 ** (7 - layer)), name


def test_shared_cells_learn_as_fast_as_the_last_layer_that_uses_them() -> None:
    network = detector("resnet18/kernel_warehouse")
    found = shares(network, parameter_groups(network, weight_decay=0, layer_decay=0.5, layers=8))
    state = dict(network.named_parameters(remove_duplicate=False))
    users: dict[int, list[str]] = {}
    for name, parameter in state.items():
        if name.endswith("warehouse.cells"):
            users.setdefault(id(parameter), []).append(name)
    assert any(len({name.split(".")[3] for name in names}) > 1 for names in users.values())
    for names in users.values():
        blocks = [name.rpartition(".warehouse")[0].rpartition(".")[0] for name in names]
        own = [found[f"{block}.bn1.weight"] for block in blocks if "downsample" not in block]
        assert found[names[0]] == max(own)


def test_layers_of_a_mobilenet_are_spread_over_its_blocks() -> None:
    network = detector("mobilenetv2_035/conv")
    found = shares(network, parameter_groups(network, weight_decay=0, layer_decay=0.5, layers=17))
    shown = {
        "conv_stem.weight": 18,
        "blocks.0.0.conv_dw.weight": 17,
        "blocks.6.0.conv_pwl.weight": 1,
        "conv_head.weight": 1,
    }
    assert {name: found[PREFIX + name] for name in shown} == {
        name: 0.5**layers for name, layers in shown.items()
    }
    assert found["neck.lateral_convs.0.conv.weight"] == 1


def test_the_share_has_the_name_that_optimisers_of_runs_read() -> None:
    assert LR_SHARE in Group.__annotations__


def test_matrices_alone_decay_where_mmdet_decays_by_layers() -> None:
    network = detector("convnext_atto/conv")
    decaying = {
        id(parameter)
        for group in parameter_groups(network, weight_decay=0.05, decays="matrices")
        for parameter in group["params"]
        if group["weight_decay"]
    }
    for name, parameter in network.named_parameters():
        is_matrix = parameter.ndim > 1 and not name.endswith(".bias")
        assert (id(parameter) in decaying) == is_matrix, name
