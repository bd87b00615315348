from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from backbones.build import build
from backbones.cost import cost
from backbones.errors import SettingError
from backbones.methods.weightnet import Settings, check, parts
from backbones.methods.weightnet.operator import Reduction, WeightNetConv2d
from backbones.resolve import resolve
from backbones.routed_block import RoutedBlock
from backbones.sites import Role, Site
from tests.backbones import reference_weightnet
from tests.backbones.closeness import assert_equals_reference, relative_error
from tests.backbones.small_sites import CASES, shake, site

ONE_GAIN = Settings()
ONE_GROUP = Settings(hidden=3, groups=1)
MANY = Settings(hidden=4, groups=2)
"""One hidden number for each group, one group for each filter, and several of both."""
WIDTH = 3


def divides(place: Site, settings: Settings) -> bool:
    numbers = place.in_channels // place.groups * place.kernel_size[0] * place.kernel_size[1]
    return numbers % parts(place, settings) == 0


PLACES = [
    pytest.param(place, settings, id=f"{name}, M={settings.hidden}, G={settings.groups}")
    for name, place in {**CASES, "whole channels": site((4, 5), padding=1, bias=True)}.items()
    for settings in (ONE_GAIN, ONE_GROUP, MANY)
    if divides(place, settings)
]


class Fed(nn.Module):
    """A layer whose second input is a parameter, so that its gradient is compared as well."""

    def __init__(self, place: Site, settings: Settings, *, images: int) -> None:
        super().__init__()
        self.layer = WeightNetConv2d(place, settings, reduced=WIDTH)
        self.reduced = nn.Parameter(torch.randn(images, WIDTH))
        nn.init.normal_(self.layer.gains.weight)
        shake(self.layer)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x, self.reduced)
        return y


def assert_equals(operator: Fed, x: Tensor, place: Site) -> None:
    def reference(x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        inside = {name.removeprefix("layer."): value for name, value in state.items()}
        return reference_weightnet.weightnet(x, state["reduced"], inside, site=place)

    operator.zero_grad()
    assert_equals_reference(operator, x, reference)


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize(("place", "settings"), PLACES)
def test_the_layer_equals_its_reference(place: Site, settings: Settings, images: int) -> None:
    operator = Fed(place, settings, images=images).double()
    x = torch.randn(images, place.in_channels, 7, 6, dtype=torch.float64)
    assert_equals(operator, x, place)


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("settings", [ONE_GAIN, MANY], ids=["M=G", "M>G"])
def test_layout_and_precision_change_nothing(settings: Settings, images: int) -> None:
    place = CASES["stride 2"]
    operator = Fed(place, settings, images=images)
    x = torch.randn(images, place.in_channels, 5, 8).contiguous(memory_format=torch.channels_last)
    assert_equals(operator, x, place)
    assert operator(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ["stride 2", "depthwise", "bias"])
def test_both_ways_to_one_gain_for_each_group_agree(name: str) -> None:
    place = CASES[name]
    settings = ONE_GAIN if divides(place, ONE_GAIN) else Settings(hidden=1, groups=1)
    layer = Fed(place, settings, images=1).double().layer
    x = torch.randn(1, place.in_channels, 7, 6, dtype=torch.float64)
    reduced = torch.randn(1, WIDTH, dtype=torch.float64)
    assert layer.can_scale_maps
    made = layer(x, reduced)
    layer.has_small_maps = True
    assert relative_error(layer(x, reduced), made) < 1e-14


def test_one_image_has_its_filters_scaled_where_they_are_smaller_than_its_maps() -> None:
    wide = replace(CASES["3x3"], in_channels=6, out_size=(56, 56))
    deep = replace(wide, out_size=(2, 1))
    layers = [WeightNetConv2d(place, ONE_GAIN, reduced=WIDTH) for place in (wide, deep)]
    assert [layer.has_small_maps for layer in layers] == [False, True]


def test_filters_made_in_parts_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    place = CASES["many outputs"]
    layer = Fed(place, ONE_GROUP, images=3).double().layer
    x = torch.randn(3, place.in_channels, 7, 6, dtype=torch.float64)
    reduced = torch.randn(3, WIDTH, dtype=torch.float64)
    wanted = layer(x, reduced)
    monkeypatch.setattr("backbones.per_image._PART", 64)
    with torch.no_grad():
        assert relative_error(layer(x, reduced), wanted) < 1e-14


@pytest.mark.parametrize("seen", [6, 3], ids=["all", "half"])
def test_the_reduction_equals_its_reference(seen: int) -> None:
    def reference(x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        weight, bias = state["linear.weight"], state["linear.bias"]
        return reference_weightnet.reduction(x, weight=weight, bias=bias)

    operator = Reduction(seen, width=4).double()
    shake(operator)
    assert_equals_reference(operator, torch.randn(2, 6, 3, 4, dtype=torch.float64), reference)


def test_weights_begin_as_in_the_release() -> None:
    layer = WeightNetConv2d(site((64, 32), padding=1), ONE_GAIN, reduced=16)
    assert layer.weight.shape == (32, 2, 64 * 9 // 2, 1)
    assert float(layer.weight.detach().std()) == pytest.approx(2 / (64 * 9), rel=0.05)
    assert float(layer.gains.weight.detach().std()) == pytest.approx(1 / 16, rel=0.1)
    assert not layer.gains.bias.any()


@cache
def network(text: str) -> nn.Module:
    return build(text, device="meta")


def test_a_block_of_a_resnet_shares_one_reduction_of_its_input() -> None:
    resnet = network("resnet18/weightnet")
    blocks = [m for m in resnet.modules() if isinstance(m, RoutedBlock)]
    layers = [m for m in resnet.modules() if isinstance(m, WeightNetConv2d)]
    assert len(blocks) == 8
    assert len(layers) == 16 + 3, "shortcuts change, too"
    assert isinstance(resnet.conv1, nn.Conv2d)
    widths = [tuple(block.get_parameter("router.linear.weight").shape) for block in blocks[3:6]]
    assert widths == [(16, 128), (16, 128), (16, 256)]


def test_a_block_that_convolves_half_of_its_input_reduces_that_half() -> None:
    shuffle = network("shufflenet_v2_x0_5/weightnet")
    seen = {
        name: shuffle.get_parameter(f"{name}.router.linear.weight").shape[1]
        for name in ("stage2.0", "stage2.1", "stage3.0")
    }
    assert seen == {"stage2.0": 24, "stage2.1": 24, "stage3.0": 48}


def test_the_network_that_was_released_at_its_plain_widths_has_its_count_but_two_biases() -> None:
    ours = cost("shufflenet_v2_x0_5/weightnet")
    assert ours.params == 1_463_928 - 24 - 1024
    assert ours.madds_assembly == 0


def test_making_filters_is_counted_as_assembly() -> None:
    made = cost("shufflenet_v2_x0_5/weightnet(hidden=8,groups=1)")
    # 8 products for each of the 136,584 numbers of its kernels
    assert made.madds_assembly == 8 * 136_584


def test_groups_that_do_not_share_out_a_filter_are_refused() -> None:
    odd = site((3, 4), padding=1)
    with pytest.raises(SettingError, match=r"a filter of layer has 27 numbers.*groups=1 does"):
        check([odd], ONE_GAIN)
    check([odd, replace(odd, groups=3, out_channels=3, role=Role.DEPTHWISE)], ONE_GROUP)


def test_hidden_numbers_that_groups_do_not_divide_are_refused() -> None:
    with pytest.raises(SettingError, match=r"hidden=3 and groups=2; hidden=4 would do"):
        resolve("resnet18/weightnet(hidden=3)")


@pytest.mark.parametrize("text", ["hidden=0", "groups=0", "reduction=0"])
def test_a_setting_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"weightnet\(\w+=0\): Input should be"):
        resolve(f"resnet18/weightnet({text})")
