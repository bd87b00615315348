"""The layers of KernelWarehouse against their reference."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from backbones.methods.kernel_warehouse import Settings
from backbones.methods.kernel_warehouse.operator import (
    KernelWarehouseConv2d,
    KernelWarehouseLinear,
    plan,
)
from tests.backbones.closeness import assert_equals_reference, relative_error
from tests.backbones.kernel_warehouse_layers import CASES, PLAIN_3X3, layer_of, shake, site
from tests.backbones.reference_kernel_warehouse import Layer, kernel_warehouse, mixtures


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


@pytest.mark.parametrize("temperature", [0.0, 0.3])
@pytest.mark.parametrize("budget", [1, 3])
@pytest.mark.parametrize("case", ["3x3", "1x1", "depthwise", "wider than its cells"])
def test_mixtures_that_share_nothing_equal_their_reference(
    case: str, budget: float, temperature: float
) -> None:
    module, wanted = layer_of(
        CASES[case], Settings(budget=budget, sharing="none", cell_out_ratio=0.5, cell_in_ratio=0.5)
    )
    module.double()
    assert module.attention.logits.out_features == len(mixtures(wanted)) * (budget + 1)
    x = torch.randn(3, 8, 6, 5, dtype=torch.float64)
    compare(module, wanted, x, temperature=temperature)
    whole = module.eval()(x)
    with torch.no_grad():
        assert relative_error(module(x), whole) < 1e-10


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
