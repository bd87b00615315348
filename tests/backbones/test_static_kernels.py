"""Where theory makes KernelWarehouse static, it is: whole networks, what they give and learn."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from backbones.build import anneal, build
from backbones.methods.kernel_warehouse.operator import KernelWarehouseConv2d
from tests.backbones.closeness import relative_error
from tests.backbones.small_sites import shake


def with_static_kernels(network: nn.Module) -> nn.Module:
    """Put plain convolutions with the kernels of some image in the places of the layers."""
    static = copy.deepcopy(network)
    layers = [(n, m) for n, m in static.named_modules() if isinstance(m, KernelWarehouseConv2d)]
    for name, layer in layers:
        place = layer.site
        plain = nn.Conv2d(
            place.in_channels,
            place.out_channels,
            place.kernel_size,
            place.stride,
            place.padding,
            place.dilation,
            place.groups,
            bias=False,
            dtype=torch.float64,
        )
        with torch.no_grad():
            alpha = layer.attend(torch.randn(1, place.in_channels, dtype=torch.float64))
            plain.weight.copy_(layer.kernels(alpha)[0])
        static.set_submodule(name, plain)
    assert layers
    return static


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_at_temperature_one_and_budget_one_a_network_is_static(training: bool) -> None:
    network = build("resnet20_cifar/kernel_warehouse(budget=1)", classes=4, image_size=16)
    shake(network)
    anneal(network, step=0, steps_per_epoch=10**12)
    network = network.double().train(training)
    static = with_static_kernels(network)
    x = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    wanted = static(x)
    assert relative_error(network(x), wanted) < 1e-9
    with torch.no_grad():
        assert relative_error(network(x), wanted) < 1e-9
    for each in (network, static):
        torch.autograd.backward(each(x).square().sum())
    names = [n for n, m in network.named_modules() if isinstance(m, KernelWarehouseConv2d)]
    kernels = gradients(static, [f"{name}.weight" for name in names])
    cells = gradients(network, [n for n, _ in network.named_parameters() if n.endswith("cells")])
    # each cell is one place of one kernel, so the same numbers stand in another order
    assert relative_error(cells.sort()[0], kernels.sort()[0]) < 1e-9


def gradients(network: nn.Module, names: list[str]) -> Tensor:
    found = [network.get_parameter(name).grad for name in names]
    return torch.cat([gradient.flatten() for gradient in found if gradient is not None])
