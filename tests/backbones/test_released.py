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


SOURCES = {
    "kernel_warehouse": "OSVAI/KernelWarehouse",
    "odconv": "OSVAI/ODConv",
    "dyconv": "kaijieshi7/Dynamic-convolution-Pytorch",
    "dcd": "liyunsheng13/dcd",
    "weightnet": "megvii-model/WeightNet",
    "cgc": "XudongLinthu/context-gated-convolution",
    "condconv": "d-li14/condconv.pytorch",
    "spconv": "qiulinzhang/SPConv.pytorch",
    "conv": "this project",
}


def method_of(network: Released) -> str:
    return resolve(network.backbone).methods[0][0]


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
        "conv": 3,  # timm's own CondConv networks, which are networks by themselves
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
    assert fit.source == f"the names of {SOURCES[method_of(network)]}"
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
