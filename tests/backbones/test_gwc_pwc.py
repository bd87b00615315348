from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from backbones.build import build
from backbones.cost import cost
from backbones.errors import SettingError, UnsupportedNetworkError
from backbones.methods.gwc_pwc import Settings
from backbones.methods.gwc_pwc.operator import GroupPointwise
from backbones.resolve import resolve
from backbones.sites import Site, sites
from tests.backbones.reference_gwc_pwc import gwc_pwc
from tests.backbones.small_sites import site
from tests.backbones.thinned_layers import (
    PLACES,
    assert_half_precision,
    assert_layer_equals,
)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_the_layer_equals_its_reference(dtype: torch.dtype, groups: int, place: Site) -> None:
    def reference(x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        return gwc_pwc(x, state, site=place, groups=groups)

    layer = GroupPointwise(place, Settings(groups=groups)).to(dtype)
    assert_layer_equals(layer, place, reference)


def test_half_precision_stays_within_its_tolerance() -> None:
    place = PLACES["stride 3, bias"]
    layer = GroupPointwise(place, Settings())
    assert_half_precision(layer, place, lambda x, s: gwc_pwc(x, s, site=place, groups=4))


def test_the_layout_of_the_map_is_kept() -> None:
    x = torch.randn(2, 8, 6, 5).contiguous(memory_format=torch.channels_last)
    layer = GroupPointwise(site((8, 4), padding=1, stride=2), Settings())
    assert layer(x).is_contiguous(memory_format=torch.channels_last)


def test_both_kernels_start_with_one_deviation() -> None:
    layer = GroupPointwise(site((256, 256), padding=1), Settings())
    # a channel leaves by 9 weights to 64 filters and by one to 256
    wanted = (2 / (64 * 9 + 256)) ** 0.5
    for weight in (layer.group_conv.weight, layer.point_conv.weight):
        assert float(weight.detach().std()) == pytest.approx(wanted, rel=0.02)


@pytest.mark.parametrize(
    ("groups", "params", "madds", "printed_madds_m"),
    [
        (2, 9_267_658, 192_353_280, 192.36),
        (4, 5_590_474, 114_496_512, 114.50),
        (8, 3_751_882, 75_568_128, 75.57),
        (16, None, None, 56.11),
        (32, None, None, 46.38),
    ],
)
def test_vgg16_has_the_counts_of_the_variant_of_hetconv(
    groups: int, params: int | None, madds: int | None, printed_madds_m: float
) -> None:
    counted = cost(f"vgg16_cifar/gwc_pwc(groups={groups})", classes=10, image_size=32)
    if params is not None:
        assert (counted.params, counted.madds) == (params, madds)
    assert counted.madds / 1e6 == pytest.approx(printed_madds_m, abs=0.0101)


def test_counts_follow_the_formula() -> None:
    plain, thinned = cost("resnet50/conv"), cost("resnet50/gwc_pwc(groups=8)")
    taken = [s for s in sites("resnet50") if s.kernel_size == (3, 3)]
    assert len(taken) == 16
    # 8 M L (9 / g + 1) = 17 M L in place of 72 M L
    fewer = [55 * s.in_channels * s.out_channels // 8 for s in taken]
    pixels = [s.out_size[0] * s.out_size[1] for s in taken]
    assert thinned.params == plain.params - sum(fewer)
    assert thinned.madds == plain.madds - sum(a * b for a, b in zip(fewer, pixels, strict=True))


def test_four_groups_cost_the_multiply_adds_of_spconv_with_half_of_the_channels() -> None:
    # SPConv-ResNet-50 with alpha = 1/2, counted on the authors' code
    assert cost("resnet50/gwc_pwc").madds == 2_907_439_104


@pytest.mark.parametrize(
    ("network", "taken"),
    [("resnet18", 16), ("resnet50", 16), ("vgg16_bn", 12), ("resnet20_cifar", 18)],
)
def test_it_takes_each_dense_3x3_but_the_stem(network: str, taken: int) -> None:
    built = build(f"{network}/gwc_pwc", device="meta")
    assert sum(isinstance(m, GroupPointwise) for m in built.modules()) == taken


def test_convolutions_whose_channels_do_not_divide_stay() -> None:
    network = build("resnet20_cifar/gwc_pwc(groups=32)", device="meta")
    taken = [name for name, m in network.named_modules() if isinstance(m, GroupPointwise)]
    assert len(taken) == 11
    assert "layer2.0.conv1" not in taken, "from 16 channels"


def test_groups_that_divide_nothing_are_refused_with_the_channels() -> None:
    with pytest.raises(SettingError, match=r"gwc_pwc\(groups=5\): 5 divides .* 64, 128, 256, 512"):
        build("resnet18/gwc_pwc(groups=5)", device="meta")


@pytest.mark.parametrize("groups", ["1", "0", "2.5", "many"])
def test_a_setting_out_of_range_is_refused(groups: str) -> None:
    with pytest.raises(SettingError, match=r"gwc_pwc\(groups=.*Input should be"):
        resolve(f"resnet18/gwc_pwc(groups={groups})")


@pytest.mark.parametrize("network", ["mobilenetv2_050", "resnext50_32x4d", "deit_tiny_patch16_224"])
def test_a_network_without_dense_spatial_convolutions_is_refused(network: str) -> None:
    with pytest.raises(UnsupportedNetworkError, match="nothing to replace"):
        build(f"{network}/gwc_pwc", device="meta")
