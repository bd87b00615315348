"""The layers of KernelWarehouse against their reference, and what they promise."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.build import anneal, build
from backbones.methods.kernel_warehouse import Settings
from backbones.methods.kernel_warehouse.operator import (
    KernelWarehouseConv2d,
    KernelWarehouseLinear,
    Warehouse,
    plan,
)
from backbones.methods.kernel_warehouse.partition import partition
from backbones.site import Role, Site, Slot
from tests.backbones.closeness import assert_equals_reference, relative_error
from tests.backbones.reference_kernel_warehouse import Layer, kernel_warehouse

SMALL = "resnet18(stem=small)/kernel_warehouse"


def site(name: str, channels: tuple[int, int], *, kernel: int = 3, **shape: Any) -> Site:
    for key in {"stride", "padding", "dilation"} & set(shape):
        shape[key] = (shape[key],) * 2
    return Site(
        name=name,
        slots=frozenset({Slot.CONV}),
        role=shape.pop("role", Role.SPATIAL),
        stage=0,
        block=0,
        block_name="0",
        kind=shape.pop("kind", "conv2d"),
        in_channels=channels[0],
        out_channels=channels[1],
        kernel_size=(kernel, kernel),
        **shape,
    )


PLAIN_3X3 = site("other", (8, 4), padding=1)
CASES: Mapping[str, tuple[Site, ...]] = {
    "3x3": (site("layer", (8, 12), padding=1),),
    "stride 2": (site("layer", (8, 12), padding=1, stride=2),),
    "stride 3, no padding": (site("layer", (4, 4), stride=3),),
    "dilation": (site("layer", (4, 8), padding=2, dilation=2),),
    "1x1": (site("layer", (8, 12), kernel=1),),
    "1x1, stride 2": (site("layer", (8, 12), kernel=1, stride=2),),
    "1x1, padding": (site("layer", (8, 4), kernel=1, padding=1),),
    "bias": (site("layer", (8, 4), padding=1, bias=True),),
    "even kernel": (site("layer", (3, 6), kernel=2, stride=2),),
    "5x5": (site("layer", (4, 4), kernel=5, padding=2),),
    "groups": (site("layer", (8, 12), padding=1, groups=2),),
    "depthwise": (site("layer", (8, 8), padding=1, groups=8, role=Role.DEPTHWISE),),
    "depthwise, stride 2": (
        site("layer", (8, 8), padding=1, stride=2, groups=8, role=Role.DEPTHWISE),
    ),
    "first of two": (site("layer", (8, 8), padding=1), PLAIN_3X3),
    "second of two": (PLAIN_3X3, site("layer", (8, 8), padding=1)),
    "wider than its cells": (site("other", (4, 4), padding=1), site("layer", (8, 8), padding=1)),
}


def layer_of(sites: tuple[Site, ...], settings: Settings) -> tuple[KernelWarehouseConv2d, Layer]:
    module = plan(sites, settings)["layer"]
    assert isinstance(module, KernelWarehouseConv2d)
    shake(module)
    part = next(
        part
        for part in partition(sites, settings)
        if any(share.site.name == "layer" for share in part.shares)
    )
    share = next(share for share in part.shares if share.site.name == "layer")
    found = share.site
    return module, Layer(
        kernel=(
            found.out_channels,
            found.in_channels // found.groups,
            *found.kernel_size,
        ),
        cell=(part.cell.out_channels, part.cell.in_channels),
        cells=part.cells,
        first=share.first,
        budget=settings.budget,
        stride=found.stride[0],
        padding=found.padding[0],
        dilation=found.dilation[0],
        groups=found.groups,
    )


def shake(module: nn.Module) -> None:
    """Move norms, biases and offsets away from 0 and 1, where a mistake could hide."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.1 * torch.randn_like(buffer))
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand_like(buffer))


def compare(
    module: KernelWarehouseConv2d, wanted: Layer, x: Tensor, *, temperature: float = 0.3
) -> None:
    module.warehouse.temperature = temperature
    wanted = replace(wanted, temperature=temperature, training=module.training)
    assert_equals_reference(module, x, lambda x, state: kernel_warehouse(x, state, wanted))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_a_layer_equals_its_reference(case: str, dtype: torch.dtype) -> None:
    module, wanted = layer_of(CASES[case], Settings())
    x = torch.randn(3, module.site.in_channels, 7, 6, dtype=dtype)
    compare(module.to(dtype), wanted, x)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("images", [1, 4])
@pytest.mark.parametrize("case", ["3x3", "stride 2", "1x1", "depthwise", "groups"])
def test_batch_mode_and_memory_format_change_nothing(
    case: str, images: int, layout: torch.memory_format, *, training: bool
) -> None:
    module, wanted = layer_of(CASES[case], Settings())
    x = torch.randn(images, module.site.in_channels, 5, 7).contiguous(memory_format=layout)
    compare(module.train(training), wanted, x)


@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("budget", [0.25, 0.5, 1, 2])
def test_every_budget_and_temperature_equals_its_reference(
    budget: float, temperature: float
) -> None:
    sites = (site("other", (8, 8), padding=1), site("layer", (8, 16), padding=1))
    module, wanted = layer_of(sites, Settings(budget=budget))
    x = torch.randn(2, 8, 4, 3, dtype=torch.float64)
    if temperature < 1:
        compare(module.double(), wanted, x, temperature=temperature)
        return
    module.double().warehouse.temperature = 1.0
    state = {name: value.detach() for name, value in module.state_dict().items()}
    expected = kernel_warehouse(x, state, replace(wanted, temperature=1.0))
    assert relative_error(module(x), expected) < 1e-10


def test_compressed_far_logits_equal_their_reference() -> None:
    sites = (PLAIN_3X3, site("layer", (8, 4), padding=1), site("last", (8, 4), padding=1))
    module, wanted = layer_of(sites, Settings(budget=0.5, far_ratio=0.25))
    assert any("far" in name for name, _ in module.named_parameters())
    compare(module.double(), wanted, torch.randn(2, 8, 4, 4, dtype=torch.float64))


def test_layer_norm_in_the_attention_equals_its_reference() -> None:
    module, wanted = layer_of(CASES["bias"], Settings(attention_norm="layer"))
    compare(module.double(), wanted, torch.randn(2, 8, 4, 4, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(3, 8), (3, 5, 8), (2, 3, 4, 8), (1, 4, 8)], ids=str)
def test_a_linear_layer_is_a_1x1_convolution_over_its_tokens(shape: tuple[int, ...]) -> None:
    sites = (site("layer", (8, 12), kernel=1, kind="linear", bias=True),)
    linear = plan(sites, Settings())["layer"].double()
    assert isinstance(linear, KernelWarehouseLinear)
    shake(linear)
    conv = plan((replace(sites[0], kind="conv2d"),), Settings())["layer"].double()
    conv.load_state_dict(linear.state_dict())
    x = torch.randn(shape, dtype=torch.float64)
    image = x.reshape(shape[0], -1, 8).transpose(1, 2).unsqueeze(-1)
    wanted = conv.eval()(image).squeeze(-1).transpose(1, 2).reshape(*shape[:-1], 12)
    assert relative_error(linear.eval()(x), wanted) < 1e-12


def test_a_batch_of_one_trains_with_the_running_statistics() -> None:
    module, _ = layer_of(CASES["3x3"], Settings())
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    x = torch.randn(1, 8, 5, 5)
    trained = module.train()(x)
    torch.testing.assert_close(trained, module.eval()(x))
    for name, buffer in module.named_buffers():
        torch.testing.assert_close(buffer, before[name])


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
    assert kernels.shape == (10, 4, 6 * 3 * 3)
    wanted = sum(
        weights[:, k, None, None, None]
        * functional.conv2d(x, kernels[:, k].view(10, 6, 3, 3), padding=1, stride=2)
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


@pytest.mark.parametrize("settings", ["", "(budget=0.5)", "(budget=2)"])
def test_gradients_reach_every_parameter(settings: str) -> None:
    network = build(SMALL + settings, classes=4, image_size=32)
    shake(network)  # timm scales the last norm of a block by 0, which stops every gradient before
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
        {"partition": False},
        {"cell_out_ratio": 0.5, "cell_in_ratio": 0.5},
        {"far_ratio": 0.5},
    ],
    ids=str,
)
def test_every_ablation_trains(settings: dict[str, Any]) -> None:
    sites = (site("a", (8, 8), padding=1), site("b", (8, 16), padding=1))
    made = plan(sites, Settings(**settings))
    network = nn.Sequential(made["a"], nn.ReLU(), made["b"])
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
    network = build(SMALL, classes=2, image_size=32)
    found = list(warehouses(network))
    assert {warehouse.temperature for warehouse in found} == {0.0}
    for step, expected in ((0, 0.995), (99, 0.5), (198, 0.005), (199, 0.0), (5000, 0.0)):
        anneal(network, step=step, steps_per_epoch=10)
        assert [w.temperature for w in found] == pytest.approx([expected] * 4)


def test_without_a_start_up_assignment_there_is_no_temperature() -> None:
    network = build(f"{SMALL}(startup=none)", classes=2, image_size=32)
    anneal(network, step=0, steps_per_epoch=10)
    assert {warehouse.temperature for warehouse in warehouses(network)} == {0.0}


def test_a_state_dict_goes_round() -> None:
    x = torch.randn(2, 3, 32, 32)
    first = build(SMALL, seed=1).eval()
    second = build(SMALL, seed=2).eval()
    assert not torch.equal(first(x), second(x))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x), second(x))
    assert len(list(warehouses(second))) == 4
    assert not any("startup" in name for name in first.state_dict())


def test_a_deep_copy_shares_within_itself_and_with_nobody_else() -> None:
    network = build(SMALL).eval()
    twin = copy.deepcopy(network)
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(network(x), twin(x))
    assert sum(p.numel() for p in twin.parameters()) == sum(p.numel() for p in network.parameters())
    with torch.no_grad():
        for warehouse in warehouses(twin):
            warehouse.cells.zero_()
    assert not torch.equal(network(x), twin(x))


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
            std = warehouse.cells[:, first : first + owned].std().item()
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
    network = build(SMALL).eval()
    x = torch.randn(2, 3, 32, 32)
    wanted = network(x)
    network = network.to(memory_format=torch.channels_last)
    assert relative_error(network(x.contiguous(memory_format=torch.channels_last)), wanted) < 1e-5
