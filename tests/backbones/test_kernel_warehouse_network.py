"""What networks with KernelWarehouse promise: schedule, sharing, training, formats, export."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones import per_image
from backbones.build import anneal, build
from backbones.methods.kernel_warehouse import Settings
from backbones.methods.kernel_warehouse.operator import (
    KernelWarehouseConv2d,
    Warehouse,
    plan,
)
from tests.backbones.closeness import relative_error
from tests.backbones.kernel_warehouse_layers import CASES, layer_of, pair, shake, site

SMALL = "resnet18(stem=small)/kernel_warehouse"


def test_one_warehouse_and_whole_cells_are_plain_dynamic_convolution() -> None:
    settings = Settings(
        budget=4, sharing="layer", partition=False, attention="softmax", temperature=0
    )
    module, _ = layer_of((site("layer", (6, 10), padding=1, stride=2),), settings)
    x = torch.randn(3, 6, 7, 7)
    attention = module.eval().attention
    hidden = attention.act(attention.norm(attention.reduce(x.mean((2, 3)))))
    weights = attention.logits(hidden).softmax(1)[:, :4]
    kernels = module.warehouse.cells
    assert kernels.shape == (10, 6 * 3 * 3, 4)
    wanted = sum(
        weights[:, k, None, None, None]
        * functional.conv2d(x, kernels[..., k].view(10, 6, 3, 3), padding=1, stride=2)
        for k in range(4)
    )
    assert isinstance(wanted, Tensor)
    assert relative_error(module(x), wanted) < 1e-5


def warehouses(network: nn.Module) -> Iterator[Warehouse]:
    return (module for module in network.modules() if isinstance(module, Warehouse))


def layers(network: nn.Module) -> Iterator[KernelWarehouseConv2d]:
    return (module for module in network.modules() if isinstance(module, KernelWarehouseConv2d))


def test_at_temperature_one_layers_are_static_and_use_each_cell_once() -> None:
    sites = [site(name, (8, 8 * width), padding=1) for name, width in (("a", 1), ("b", 3))]
    used = []
    for layer in plan(sites, Settings()).values():
        assert isinstance(layer, KernelWarehouseConv2d)
        warehouse = layer.warehouse
        warehouse.temperature = 1.0
        first, second = layer.kernels(layer.attend(torch.randn(2, 8)))
        assert torch.equal(first, second)
        used.append(first.flatten())
    assert torch.equal(torch.cat(used).sort()[0], warehouse.cells.flatten().sort()[0])


@pytest.mark.parametrize("budget", [0.5, 1])
def test_gradients_reach_every_parameter(budget: float) -> None:
    text = f"mobilenetv2_050/kernel_warehouse(budget={budget})"
    network = build(text, classes=4, image_size=32)
    shake(network)
    anneal(network, step=3, steps_per_epoch=5)
    loss = functional.cross_entropy(network(torch.randn(3, 3, 32, 32)), torch.arange(3))
    torch.autograd.backward(loss)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    "settings",
    [
        {"attention": "softmax"},
        {"attention": "sigmoid"},
        {"attention": "none"},
        {"startup": "all_to_one"},
        {"startup": "several_to_one", "budget": 2},
        {"startup": "one_to_two"},
        {"startup": "one_to_two", "budget": 0.5},
        {"startup": "none"},
        {"sharing": "layer"},
        {"sharing": "none"},
        {"sharing": "none", "startup": "all_to_one", "budget": 2},
        {"partition": False},
        {"cell_out_ratio": 0.5, "cell_in_ratio": 0.5},
        {"far_ratio": 0.5},
    ],
    ids=str,
)
def test_every_ablation_trains(settings: dict[str, Any]) -> None:
    network = pair(**settings)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    x, wanted = torch.randn(4, 8, 6, 6), torch.randn(4, 16, 6, 6)
    losses = []
    for step in range(6):
        anneal(network, step=step, steps_per_epoch=1)
        loss = functional.mse_loss(network(x), wanted)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_the_temperature_falls_linearly_over_its_epochs() -> None:
    network = pair(temperature_epochs=20)
    (warehouse,) = warehouses(network)
    assert warehouse.temperature == 0
    for step, expected in ((0, 0.995), (99, 0.5), (198, 0.005), (199, 0.0), (5000, 0.0)):
        anneal(network, step=step, steps_per_epoch=10)
        assert warehouse.temperature == pytest.approx(expected)


@pytest.mark.parametrize("settings", [{"startup": "none"}, {"temperature_epochs": 0}], ids=str)
def test_without_a_start_up_there_is_no_temperature(settings: dict[str, Any]) -> None:
    network = pair(**settings)
    anneal(network, step=0, steps_per_epoch=10)
    assert {warehouse.temperature for warehouse in warehouses(network)} == {0.0}


def test_a_state_dict_goes_round() -> None:
    x = torch.randn(2, 8, 6, 6)
    first, second = pair().eval(), pair().eval()
    assert not torch.equal(first(x), second(x))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x), second(x))
    assert len(list(warehouses(second))) == 1
    assert not any("startup" in name for name in first.state_dict())


def test_a_deep_copy_shares_within_itself_and_with_nobody_else() -> None:
    network = pair().eval()
    twin = copy.deepcopy(network)
    x = torch.randn(2, 8, 6, 6)
    wanted = network(x)
    assert torch.equal(twin(x), wanted)
    (warehouse,) = warehouses(twin)
    with torch.no_grad():
        warehouse.cells.zero_()
    assert twin(x).count_nonzero() == 0
    assert torch.equal(network(x), wanted)


def test_the_same_seed_gives_the_same_weights() -> None:
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(torch.cat([p.detach().flatten() for p in pair().parameters()]))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_a_stage_that_is_frozen_has_its_cells_frozen() -> None:
    network = build(SMALL)
    network.get_submodule("layer4").requires_grad_(False)
    cells = {id(w.cells): w.cells.requires_grad for w in warehouses(network)}
    assert sorted(cells.values()) == [False, False, True, True]


def test_initial_weights_are_those_of_the_paper() -> None:
    network = build("resnet18/kernel_warehouse(budget=2)")
    for warehouse in warehouses(network):
        outputs = warehouse.cells.shape[0]
        mine = [layer for layer in layers(network) if layer.warehouse is warehouse]
        first = 0
        for layer in mine:
            owned = 2 * layer.attention.mixtures
            std = warehouse.cells[..., first : first + owned].std().item()
            assert std == pytest.approx((2 / (owned * outputs)) ** 0.5, rel=0.02)
            first += owned
        logits = mine[0].attention.logits
        assert isinstance(logits, nn.Linear)
        assert logits.weight.std().item() == pytest.approx(
            (2 / logits.out_features) ** 0.5, rel=0.05
        )
        assert logits.bias.count_nonzero() == 0


@pytest.mark.parametrize(
    ("precision", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float16, 4e-3)], ids=str
)
def test_half_precision_stays_near(precision: torch.dtype, tolerance: float) -> None:
    module, _ = layer_of(CASES["3x3"], Settings())
    module.eval().warehouse.temperature = 0.3
    x = torch.randn(2, 8, 6, 6)
    wanted = module(x)
    with torch.autocast("cpu", dtype=precision):
        mixed = module(x)
        alpha = module.attention(x.mean((2, 3)), temperature=0.3)
    assert alpha.dtype is torch.float32
    assert mixed.dtype is precision
    assert relative_error(mixed, wanted) < tolerance
    whole = copy.deepcopy(module).to(precision)
    assert relative_error(whole(x.to(precision)), wanted) < 2 * tolerance


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("case", ["3x3", "1x1", "stride 2", "depthwise"])
def test_channels_last_is_kept(case: str, images: int) -> None:
    module, _ = layer_of(CASES[case], Settings())
    x = torch.randn(images, 8, 6, 6).contiguous(memory_format=torch.channels_last)
    y = module.eval()(x)
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_a_network_changes_its_memory_format() -> None:
    network = pair().eval()
    x = torch.randn(2, 8, 6, 6)
    wanted = network(x)
    network = network.to(memory_format=torch.channels_last)
    assert relative_error(network(x.contiguous(memory_format=torch.channels_last)), wanted) < 1e-5


@pytest.mark.parametrize("case", ["3x3", "1x1", "depthwise", "wider than its cells"])
def test_images_in_parts_are_those_of_the_whole_batch(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, _ = layer_of(CASES[case], Settings())
    x = torch.randn(5, 8, 6, 6)
    wanted = module.eval()(x)
    for part in (1, 200, 5000):
        monkeypatch.setattr(per_image, "_PART", part)
        with torch.no_grad():
            assert relative_error(module(x), wanted) < 1e-6
            assert relative_error(module(x[:1]), wanted[:1]) < 1e-6


def test_an_exported_layer_takes_any_batch() -> None:
    network = pair().eval()
    batch = torch.export.Dim("batch", min=2, max=8)
    exported = torch.export.export(
        network, (torch.randn(2, 8, 6, 6),), dynamic_shapes=({0: batch},)
    ).module()
    x = torch.randn(5, 8, 6, 6)
    assert relative_error(exported(x), network(x)) < 1e-6
