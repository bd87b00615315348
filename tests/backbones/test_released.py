"""Every network that authors released is recognised by names and shapes, and fills ours."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
import torchvision

from backbones import release, weights
from backbones.build import build
from backbones.resolve import resolve
from backbones.weights_layout import best_layout
from tests.backbones.released_lists import Released, every, named

NETWORKS = every()
TRAINED_AT = {"kernel_warehouse": 0.0, "odconv": 1.0, "dyconv": 1.0}

TIMM = "huggingface/pytorch-image-models"
NAMED_AS_HERE = {"conv", "eca"}
"""Methods whose tensors timm's networks name as ours do."""


def method_of(network: Released) -> str:
    return resolve(network.backbone).methods[0][0]


def names_of(network: Released) -> str:
    """Whose names the tensors have: those of the repository in the list, or ours."""
    repository = network.source.partition(" ")[0]
    is_ours = repository == TIMM and method_of(network) in NAMED_AS_HERE
    return "this project" if is_ours else repository


def test_all_official_networks_are_listed() -> None:
    found = Counter(method_of(network) for network in NETWORKS)
    assert found == {
        "kernel_warehouse": 15,
        "odconv": 8,
        "dyconv": 2,
        "dcd": 4,
        "weightnet": 4,
        "cgc": 1,
        "condconv": 2,
        "spconv": 11,
        "se": 4,
        "cbam": 8,  # the authors' and timm's
        "eca": 11,  # the authors' and timm's
        # networks by themselves: timm's own with CondConv and Ghost, and DiCENet
        "conv": 15,
    }


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.backbone)
def test_a_release_fills_the_network_and_its_temperature_is_told(network: Released) -> None:
    ours = build(network.backbone, device="meta")
    given = network.on_meta()
    fit = weights.recognise(ours, given, backbone=network.backbone)
    layout = best_layout(ours, resolve(network.backbone), given)
    targets = [entry.target for entry in layout.entries.values()]
    assert layout.entries.keys() == given.keys()
    assert sorted(targets) == sorted(release.own_state(ours))
    assert fit.tensors == len(network.shapes)
    assert not fit.counters_absent
    assert fit.source == f"the names of {names_of(network)}"
    assert sum(value.numel() for value in ours.parameters()) == network.params
    assert fit.temperature == TRAINED_AT.get(method_of(network))
    assert ("temperature" in str(fit)) is (method_of(network) in TRAINED_AT)


def test_files_of_megengine_may_keep_its_shapes() -> None:
    network = named("shufflenet_v2_weightnet_x0_5/weightnet")
    given = {}
    for name, tensor in network.drawn().items():
        if name.endswith("num_batches_tracked"):
            continue  # MegEngine has no such counters
        one_dimension = tensor.ndim == 1 and not name.startswith("classifier")
        given[name] = tensor.reshape(1, -1, 1, 1) if one_dimension else tensor
    name = "features.0.wnet1.wn_fc2.weight"  # 24 x 24 numbers, two groups a filter
    given[name] = given[name].reshape(48, 12, 1, 1, 1)
    ours = build(network.backbone)
    fit = weights.load(ours, given, backbone=network.backbone)
    assert fit.tensors == len(given)
    assert all(name.endswith("num_batches_tracked") for name in fit.counters_absent)
    filled = ours.get_parameter("stage2.0.block.branch2.0.weight")
    assert torch.equal(filled.flatten(), network.drawn()[name].flatten())


def test_a_plain_network_takes_the_weights_of_another_library() -> None:
    theirs = torchvision.models.mobilenet_v2(weights=None).eval()
    ours = build("mobilenetv2_100").eval()
    fit = weights.load(ours, theirs.state_dict(), backbone="mobilenetv2_100")
    assert "torchvision" in fit.source
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))
