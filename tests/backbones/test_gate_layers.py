"""Gates are right in every form in which a network meets them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, export

from backbones.fusion import Fuses
from tests.backbones.closeness import TOLERANCE, assert_equals_reference, relative_error, wanted_of
from tests.backbones.gate_layers import CHANNELS, GATES, Gate

every = pytest.mark.parametrize("gate", GATES.values(), ids=GATES)
modes = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
LAYOUTS = (torch.contiguous_format, torch.channels_last)


def image_of(count: int, height: int, width: int) -> Tensor:
    """Maps whose channels and places differ from each other."""
    brightness = torch.randn(count, CHANNELS, 1, 1)
    return brightness + torch.randn(count, CHANNELS, height, width)


@modes
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@every
def test_it_equals_its_reference(gate: Gate, dtype: torch.dtype, training: bool) -> None:
    layer = gate.shaken().to(dtype).train(training)
    for shape in ((1, 3, 4), (2, 5, 4)) if training else ((1, 3, 4), (3, 1, 1)):
        for layout in LAYOUTS:
            layer.zero_grad()
            x = image_of(*shape).to(dtype).contiguous(memory_format=layout)
            assert_equals_reference(layer, x, gate.reference(training))


@every
def test_it_keeps_the_layout_and_the_map_that_it_is_given(gate: Gate) -> None:
    layer = gate.shaken().eval()
    for layout in LAYOUTS:
        x = image_of(2, 5, 7).contiguous(memory_format=layout)
        before = x.clone()
        with torch.no_grad():
            assert layer(x).is_contiguous(memory_format=layout)
        assert torch.equal(x, before)


@every
def test_fused_it_gives_the_same_in_the_map_that_it_is_given(gate: Gate) -> None:
    layer = gate.shaken().eval()
    fused = fused_of(layer)
    for count in (0, 1, 3):
        for layout in LAYOUTS:
            x = image_of(count, 5, 7).contiguous(memory_format=layout)
            with torch.no_grad():
                wanted = layer(x)
                found = fused(x)
            assert relative_error(found, wanted) < 1e-6
            assert found.data_ptr() == x.data_ptr()


@every
def test_fused_it_serves_maps_of_any_size_and_moves_with_its_numbers(gate: Gate) -> None:
    layer = gate.shaken().eval()
    fused = fused_of(layer)
    for size in ((5, 7), (3, 3), (5, 7)):
        x = image_of(2, *size)
        with torch.no_grad():
            wanted = layer(x)
            assert relative_error(fused(x), wanted) < 1e-6
    layer, fused = layer.double(), fused.double()
    with torch.no_grad():
        for dtype in (torch.float64, torch.bfloat16):
            x = image_of(2, 5, 7)
            wanted = layer(x.double())
            found = fused.to(dtype)(x.to(dtype))
            assert found.dtype is dtype
            assert relative_error(found, wanted) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@every
def test_fused_sums_of_large_maps_have_room_under_autocast(gate: Gate, dtype: torch.dtype) -> None:
    layer = gate.shaken().eval()
    x = 4 + image_of(1, 160, 160)  # sums of 102,400, where half precision ends at 65,504
    with torch.no_grad():
        wanted = layer(x)
        with torch.autocast("cpu", dtype):
            assert relative_error(fused_of(layer)(x), wanted) < 5 * TOLERANCE[dtype]


@every
def test_fused_it_leaves_a_map_alone_whose_gradient_is_recorded(gate: Gate) -> None:
    layer = gate.shaken().eval()
    x = image_of(2, 5, 7).requires_grad_()
    y = fused_of(layer)(x)
    assert relative_error(y, layer(x)) < 1e-6
    torch.autograd.backward(y.square().sum())
    assert x.grad is not None


@modes
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("how", ["whole", "autocast"])
@every
def test_half_precision_stays_within_its_tolerance(
    gate: Gate, how: str, dtype: torch.dtype, training: bool
) -> None:
    layer, x = gate.shaken().train(training), image_of(3, 5, 7)
    if how == "whole":
        layer, x = layer.to(dtype), x.to(dtype)
    wanted = wanted_of(layer, x, gate.reference(training))
    x.requires_grad_()
    with torch.autocast("cpu", dtype, enabled=how == "autocast"):
        y = layer(x)
    torch.autograd.backward((y.double() * wanted.direction).sum())
    assert relative_error(y, wanted.output) < TOLERANCE[dtype]
    for value in (x, *layer.parameters()):
        assert value.grad is not None
        assert bool(value.grad.isfinite().all())


@modes
@every
def test_compiled_it_gives_and_learns_the_same(gate: Gate, training: bool) -> None:
    torch.compiler.reset()
    layer = gate.shaken().train(training)
    other = copy.deepcopy(layer)
    compiled = cast("nn.Module", torch.compile(other, backend="aot_eager", fullgraph=True))
    x = image_of(3, 5, 7)
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [each(own) for each, own in zip((layer, compiled), inputs, strict=True)]
    assert relative_error(outputs[1], outputs[0]) < 1e-6
    for y in outputs:
        torch.autograd.backward(y.square().sum())
    found = ([own, *each.parameters()] for own, each in zip(inputs, (layer, other), strict=True))
    for one, two in zip(*found, strict=True):
        assert one.grad is not None
        assert two.grad is not None
        assert relative_error(two.grad, one.grad) < 1e-4


@pytest.mark.parametrize("is_fused", [False, True], ids=["usual", "fused"])
@every
def test_exported_it_takes_any_batch_and_size(gate: Gate, is_fused: bool) -> None:
    layer = gate.shaken().eval()
    exported = fused_of(layer) if is_fused else layer
    shapes = ({0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO},)
    with torch.no_grad():
        program = export(exported, (image_of(2, 9, 8),), dynamic_shapes=shapes).module()
        for size in ((1, 7, 6), (5, 8, 11)):
            x = image_of(*size)
            assert relative_error(program(x), layer(x)) < 1e-6


@every
def test_a_copy_over_meta_comes_back(gate: Gate) -> None:
    layer, x = gate.shaken().eval(), image_of(2, 7, 7)
    on_meta = copy.deepcopy(layer).to("meta")
    assert on_meta(x.to("meta")).shape == x.shape
    other = on_meta.to_empty(device="cpu")
    reset(other)
    other.load_state_dict(layer.state_dict())
    with torch.no_grad():
        assert torch.equal(other(x), layer(x))


@every
def test_drawn_anew_it_is_as_made(gate: Gate) -> None:
    torch.manual_seed(5)
    made = gate.make()
    other = gate.shaken()
    torch.manual_seed(5)
    reset(other)
    # a constructor may draw and draw again; what is drawn must have the same spread
    assert spread(made) == pytest.approx(spread(other), rel=0.5)


def fused_of(layer: nn.Module) -> nn.Module:
    """Its form for inference."""
    return cast("Fuses", layer).fused().eval()


def reset(layer: nn.Module) -> None:
    getattr(layer, "reset_parameters")()  # noqa: B009 - no class that all gates share declares it


def spread(layer: nn.Module) -> Mapping[str, float]:
    return {name: float(value.detach().square().mean()) for name, value in layer.named_parameters()}
