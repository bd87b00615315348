from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from backbones.build import build
from backbones.cost import cost, count
from backbones.errors import UnsupportedNetworkError
from backbones.fusion import fuse
from backbones.methods.dice import inference
from backbones.methods.dice.inference import FusedDice
from backbones.methods.dice.operator import DiceConv
from backbones.methods.dice.unit import Dice
from tests.backbones import reference_dice
from tests.backbones.closeness import TOLERANCE, assert_equals_reference, relative_error
from tests.backbones.small_sites import shake, site

Shape = tuple[int, int, tuple[int, int]]

SHAPES: Mapping[str, Shape] = {
    "as wide": (4, 4, (3, 4)),
    "twice as wide": (4, 8, (4, 3)),
    "few groups": (4, 6, (3, 3)),
    "one row": (5, 5, (1, 3)),
}
"""Channels in and out, and the size for which a unit is built."""


def unit(shape: Shape, *, training: bool = False) -> Dice:
    torch.manual_seed(0)
    channels, out_channels, size = shape
    made = Dice(channels, out_channels, size=size)
    shake(made)
    with torch.no_grad():  # a gate that is all but shut has gradients that are all rounding
        made.local.norm.bias.abs_().add_(0.5)
        made.squeeze.weight.abs_()
    return made.train(training)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_unit_equals_its_reference(shape: Shape, training: bool, dtype: torch.dtype) -> None:
    operator = unit(shape, training=training).to(dtype)
    channels, _, (height, width) = shape

    def reference(x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        return reference_dice.unit(x, state, size=(height, width), training=training)

    for images, size in ((2, (height, width)), (1, (height + 2, width + 1)), (2, (2, 2))):
        x = torch.randn(images, channels, *size, dtype=dtype)
        for layout in (torch.contiguous_format, torch.channels_last):
            operator.zero_grad()
            assert_equals_reference(operator, x.contiguous(memory_format=layout), reference)


@pytest.mark.parametrize(("stride", "size"), [(1, (5, 4)), (2, (3, 2))])
def test_a_convolution_that_strides_becomes_means_and_a_unit(
    stride: int, size: tuple[int, int]
) -> None:
    def reference(x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        inner = {name.removeprefix("unit."): value for name, value in state.items()}
        pooled = reference_dice.mean_of_windows(x, stride=stride) if stride > 1 else x
        return reference_dice.unit(pooled, inner, size=size, training=False)

    place = replace(site((4, 8), padding=1, stride=stride), in_size=(5, 4), out_size=size)
    operator = DiceConv(place).double().eval()
    shake(operator)
    for images in (1, 2):
        operator.zero_grad()
        x = torch.randn(images, 4, 5, 4, dtype=torch.float64)
        assert_equals_reference(operator, x, reference)


@pytest.mark.parametrize(
    ("channels", "side", "params", "madds"),
    [(116, 14, 11_156, 893_432), (58, 28, 4_216, 1_775_032)],
)
def test_counts_are_those_of_the_formula(channels: int, side: int, params: int, madds: int) -> None:
    with torch.device("meta"):
        made = Dice(channels, channels, size=(side, side))
    counted = count(made, image_size=side, channels=channels)
    gate = 2 * channels * (channels // 4)
    assert counted.params == params == 9 * channels + 18 * side + 27 * channels + gate
    assert counted.madds == madds == side**2 * 39 * channels + gate


def test_every_row_and_column_has_a_kernel_of_its_own() -> None:
    """Where a kernel is zero, that row or column has only the shift of the norm."""
    operator = Dice(4, 4, size=(5, 6)).eval()
    with torch.no_grad():
        operator.height_conv.weight[2] = 0
        operator.width_conv.weight[4] = 0
    seen: list[Tensor] = []
    operator.branch_norm.register_forward_hook(lambda _, __, y: seen.append(y))
    with torch.no_grad():
        operator(torch.randn(1, 4, 5, 6))
    by_rows, by_columns = seen[0][:, 4:8], seen[0][:, 8:]
    assert by_rows.abs().amax((0, 1, 3)).gt(0).tolist() == [True, True, False, True, True]
    assert by_columns.abs().amax((0, 1, 2)).gt(0).tolist() == [True] * 4 + [False, True]


def test_a_unit_takes_maps_of_any_size_and_keeps_it() -> None:
    operator = Dice(4, 4, size=(28, 28)).eval()
    assert operator(torch.randn(1, 4, 40, 17)).shape == (1, 4, 40, 17)
    assert operator(torch.randn(1, 4, 1, 1)).shape == (1, 4, 1, 1)


@pytest.mark.parametrize("shape", [SHAPES["as wide"], SHAPES["few groups"]])
def test_half_precision_is_as_close_as_its_numbers_allow(shape: Shape) -> None:
    operator = unit(shape)
    channels, _, size = shape
    x = torch.randn(3, channels, *size)
    with torch.no_grad():
        wanted = copy.deepcopy(operator).double()(x.double())
        with torch.autocast("cpu", torch.bfloat16):
            assert relative_error(operator(x), wanted) < TOLERANCE[torch.bfloat16]
        whole = operator.to(torch.bfloat16)(x.to(torch.bfloat16))
    assert whole.dtype is torch.bfloat16
    assert relative_error(whole, wanted) < TOLERANCE[torch.bfloat16]


def test_a_unit_is_compiled_without_a_break() -> None:
    operator, x = unit(SHAPES["twice as wide"]), torch.randn(2, 4, 6, 2)
    compiled = torch.compile(operator, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert relative_error(compiled(x), operator(x)) < 1e-6


def test_a_unit_is_exported_for_any_number_of_images() -> None:
    operator, shapes = unit(SHAPES["as wide"]), ({0: torch.export.Dim("images", min=1, max=64)},)
    exported = torch.export.export(operator, (torch.randn(2, 4, 3, 4),), dynamic_shapes=shapes)
    x = torch.randn(5, 4, 3, 4)
    with torch.no_grad():
        assert relative_error(exported.module()(x), operator(x)) < 1e-6


def test_it_takes_the_3x3_convolutions_of_a_network_with_their_norm_and_activation() -> None:
    network = build("resnet18/dice", device="meta")
    taken = {name: m for name, m in network.named_modules() if isinstance(m, DiceConv)}
    assert len(taken) == 16
    assert "conv1" not in taken
    assert isinstance(network.get_submodule("layer1.0.bn1"), nn.Identity)
    assert isinstance(network.get_submodule("layer1.0.act1"), nn.Identity)
    assert isinstance(network.get_submodule("layer1.0.act2"), nn.ReLU), "that after the sum stays"
    sizes = [taken[f"layer{stage}.1.conv2"].unit.size for stage in (1, 2, 3, 4)]
    assert sizes == [(56, 56), (28, 28), (14, 14), (7, 7)]


def test_kernels_of_rows_and_columns_follow_the_image_size() -> None:
    network = build("resnet18/dice", image_size=160, device="meta")
    assert network.get_parameter("layer3.0.conv1.unit.height_conv.weight").shape[0] == 10


def test_the_method_costs_what_its_layers_do() -> None:
    plain, ours = cost("resnet18/conv"), cost("resnet18/dice")
    widths = [(64, 64, 56)] * 4
    for narrow, wide, side in ((64, 128, 28), (128, 256, 14), (256, 512, 7)):
        widths += [(narrow, wide, side), *[(wide, wide, side)] * 3]
    before = sum(9 * i * o + 2 * o for i, o, _ in widths)
    # 27 i for the branches, their norm and slopes, 3 i + 3 i for the local fusion, then the rest
    after = sum(
        (9 + 9 + 6) * i + 18 * side + 9 * o + 3 * o + (i + o) * (i // 4) for i, o, side in widths
    )
    assert ours.params == plain.params - before + after


def test_a_network_without_dense_3x3_convolutions_is_refused() -> None:
    with pytest.raises(UnsupportedNetworkError, match="nothing to replace"):
        build("mobilenetv2_100/dice", device="meta")


SQUARE: Mapping[str, Shape] = {
    "as wide": (4, 4, (5, 5)),
    "twice as wide": (5, 10, (4, 4)),
    "few groups": (4, 6, (3, 3)),
    "one pixel": (6, 6, (1, 1)),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("images", [1, 5])
@pytest.mark.parametrize("shape", SQUARE.values(), ids=SQUARE)
def test_the_form_for_inference_computes_the_same_in_parts(
    shape: Shape, images: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = unit(shape).to(dtype)
    channels, _, size = shape
    fused = operator.fused()
    assert isinstance(fused, FusedDice)
    monkeypatch.setattr(inference, "_LARGEST", 2 * fused.numbers)  # two images at a time
    operator.forward = None  # type: ignore[assignment, method-assign]  # the other way is not taken
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(images, channels, *size, dtype=dtype).contiguous(memory_format=layout)
        with torch.no_grad():
            found = fused(x)
            wanted = Dice.forward(operator, x)
        assert relative_error(found, wanted) < TOLERANCE[dtype] / 10


def test_images_do_not_see_each_other_in_the_form_for_inference() -> None:
    shape = SQUARE["as wide"]
    fused = unit(shape).fused()
    x = torch.randn(3, 4, 5, 5)
    with torch.no_grad():
        alone = fused(x[1:2])
        x[0], x[2] = 1e6, -1e6
        among = fused(x)[1:2]
    assert relative_error(among, alone) < 1e-6


@pytest.mark.parametrize("size", [(6, 5), (2, 9)])
def test_the_form_for_inference_takes_maps_of_any_size(size: tuple[int, int]) -> None:
    operator = unit(SQUARE["as wide"])
    x = torch.randn(2, 4, *size)
    with torch.no_grad():
        assert torch.equal(operator.fused()(x), operator(x))


def test_the_form_for_inference_is_left_where_it_cannot_serve() -> None:
    """With gradients recorded, in mixed precision and in other types the unit itself computes."""
    operator = unit(SQUARE["twice as wide"])
    fused = operator.fused()
    x = torch.randn(2, 5, 4, 4, requires_grad=True)
    fused(x).sum().backward()
    assert x.grad is not None
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(fused(x), operator(x))
    with torch.no_grad():
        half = fused.to(torch.bfloat16)
        found = half(x.to(torch.bfloat16))
    assert found.dtype is torch.bfloat16


def test_a_unit_for_maps_that_are_not_square_has_no_other_form() -> None:
    operator = unit(SHAPES["as wide"])
    assert operator.fused() is operator


def test_a_network_with_the_method_is_fused() -> None:
    network = build("resnet18/dice", classes=10, image_size=64).eval()
    shake(network)
    fused = fuse(network, image_size=64)
    assert sum(isinstance(m, FusedDice) for m in fused.modules()) == 16
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert relative_error(fused(x), network(x)) < 1e-5
