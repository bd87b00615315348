"""The weight of the representative channels is that which the layer fuses with."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from backbones.attention_map import Map, attention_maps, offers
from backbones.build import build
from backbones.methods.spconv.operator import SplitConv
from tests.backbones.closeness import relative_error

TEXT = "resnet20_cifar/spconv"
LAYER = "layer2.0.conv1"


def small(text: str) -> nn.Module:
    torch.set_num_threads(1)
    network = build(text, classes=10, image_size=16).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
    return network


def images(count: int = 3) -> Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def look(text: str, network: nn.Module, shown: Tensor) -> list[Map]:
    return attention_maps(text, network, shown, classes=10)


def test_each_stage_has_its_layers_by_channels() -> None:
    assert offers(TEXT)
    maps = look(TEXT, small(TEXT), images())
    assert [one.group for one in maps] == ["stage 0", "stage 1", "stage 2"]
    assert [one.values.shape for one in maps] == [(6, 16), (6, 32), (6, 64)]
    assert maps[1].rows.sections[0].name == LAYER
    for one in maps:
        assert (one.rows.label, one.columns.label, one.neutral) == ("layer", "channel", 0.5)
        assert 0 < one.values.min() < one.values.max() < 1
        assert one.spread is not None
        assert one.spread.max() > 0


def test_the_weight_is_the_softmax_over_the_means_of_both_branches() -> None:
    network = small(TEXT)
    layer = network.get_submodule(LAYER)
    assert isinstance(layer, SplitConv)
    arrived: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, inputs: arrived.append(inputs[0]))
    with torch.no_grad():
        network(images())
    handle.remove()
    layer.double()
    x = arrived[0].double()
    pooled = nn.functional.avg_pool2d(x, 2)
    r = layer.representative
    assert layer.point_wise is not None
    with torch.no_grad():
        u3 = layer.representative_norm(layer.group_wise(x[:, :r]) + layer.point_wise(pooled[:, :r]))
        u1 = layer.redundant_norm(layer.redundant_conv(pooled[:, r:]))
        y = layer(x)
    both = torch.stack([u3.mean((2, 3)), u1.mean((2, 3))])
    beta, gamma = both.softmax(0)
    assert relative_error(y, beta[..., None, None] * u3 + gamma[..., None, None] * u1) < 1e-9
    layer.float()
    row = look(TEXT, network, images())[1]
    assert row.spread is not None
    assert relative_error(torch.from_numpy(row.values[0]), beta.mean(0)) < 1e-5
    assert relative_error(torch.from_numpy(row.spread[0]), beta.std(0, correction=0)) < 1e-4


@pytest.mark.parametrize("pointwise", ["true", "false"])
def test_branches_that_are_summed_have_no_weight(pointwise: str) -> None:
    text = f"{TEXT}(fusion=sum,pointwise={pointwise})"
    assert look(text, small(text), images(1)) == []


def test_looking_changes_nothing() -> None:
    network = small(TEXT)
    with torch.no_grad():
        wanted = network(images())
        look(TEXT, network, images())
        assert torch.equal(network(images()), wanted)
    assert not any(module._forward_hooks for module in network.modules())
