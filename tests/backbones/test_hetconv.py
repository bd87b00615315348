from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from backbones.build import build
from backbones.cost import cost
from backbones.errors import SettingError, UnsupportedNetworkError
from backbones.methods.hetconv import Settings
from backbones.methods.hetconv.operator import HetConv, OtherParts
from backbones.resolve import resolve
from backbones.sites import Site, sites
from tests.backbones.reference_hetconv import hetconv
from tests.backbones.small_sites import site
from tests.backbones.thinned_layers import (
    PLACES,
    assert_half_precision,
    assert_layer_equals,
)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_the_layer_equals_its_reference(dtype: torch.dtype, parts: int, place: Site) -> None:
    def reference(x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        return hetconv(x, state, site=place, parts=parts)

    assert_layer_equals(HetConv(place, Settings(parts=parts)).to(dtype), place, reference)


def test_half_precision_stays_within_its_tolerance() -> None:
    place = PLACES["stride 3, bias"]
    layer = HetConv(place, Settings())
    assert_half_precision(layer, place, lambda x, s: hetconv(x, s, site=place, parts=4))


def test_the_own_part_has_no_single_weights_and_the_others_keep_their_order() -> None:
    other = OtherParts(site((6, 3)), 3)
    with torch.no_grad():
        other.weight.copy_(torch.arange(1.0, 13.0).reshape(3, 4))
    wanted = [[0, 0, 1, 2, 3, 4], [5, 6, 0, 0, 7, 8], [9, 10, 11, 12, 0, 0]]
    assert other.matrix().tolist() == wanted


def test_it_is_a_plain_convolution_with_the_kernels_side_by_side() -> None:
    place = site((8, 12), padding=1, stride=2)
    layer = HetConv(place, Settings())
    dense = torch.zeros(12, 8, 3, 3)
    dense[:, :, 1, 1] = layer.other_parts.matrix()
    for part in range(4):
        rows, columns = slice(3 * part, 3 * part + 3), slice(2 * part, 2 * part + 2)
        dense[rows, columns] = layer.own_part.weight[rows]
    x = torch.randn(2, 8, 9, 7)
    wanted = nn.functional.conv2d(x, dense, stride=2, padding=1)
    assert torch.allclose(layer(x), wanted, atol=1e-5)


def test_the_layout_of_the_map_is_kept() -> None:
    x = torch.randn(2, 8, 6, 5).contiguous(memory_format=torch.channels_last)
    layer = HetConv(site((8, 4), padding=1), Settings())
    assert layer(x).is_contiguous(memory_format=torch.channels_last)


def test_all_kernels_start_with_one_deviation() -> None:
    layer = HetConv(site((256, 256), padding=1), Settings())
    # 64 channels of 9 weights and 192 of one leave for 256 filters
    wanted = (2 / (64 * 9 + 192)) ** 0.5
    for weight in (layer.own_part.weight, layer.other_parts.weight):
        assert float(weight.detach().std()) == pytest.approx(wanted, rel=0.02)


@pytest.mark.parametrize(
    ("parts", "madds_m"),
    [(2, 175.23), (4, 105.98), (8, 71.35), (16, 54.04), (32, 45.38), (64, 41.05)],
)
def test_vgg16_has_the_multiply_adds_that_the_paper_prints(parts: int, madds_m: float) -> None:
    counted = cost(f"vgg16_cifar/hetconv(parts={parts})", classes=10, image_size=32)
    # the paper's counts are above by no more than one bias for each of the 276,480 outputs
    assert 0 < madds_m - counted.madds / 1e6 < 0.2765


def test_counts_follow_the_formula_of_the_paper() -> None:
    plain, thinned = cost("resnet50/conv"), cost("resnet50/hetconv(parts=8)")
    taken = [s for s in sites("resnet50") if s.kernel_size == (3, 3)]
    assert len(taken) == 16
    # M L (9 / P + 1 - 1 / P) = 2 M L in place of 9 M L
    fewer = [7 * s.in_channels * s.out_channels for s in taken]
    pixels = [s.out_size[0] * s.out_size[1] for s in taken]
    assert thinned.params == plain.params - sum(fewer)
    assert thinned.madds == plain.madds - sum(a * b for a, b in zip(fewer, pixels, strict=True))


@pytest.mark.parametrize(
    ("network", "taken"),
    [("resnet18", 16), ("resnet50", 16), ("vgg16_bn", 12), ("resnet20_cifar", 18)],
)
def test_it_takes_each_dense_3x3_but_the_stem(network: str, taken: int) -> None:
    built = build(f"{network}/hetconv", device="meta")
    assert sum(isinstance(m, HetConv) for m in built.modules()) == taken


def test_convolutions_whose_channels_do_not_divide_stay() -> None:
    network = build("resnet20_cifar/hetconv(parts=32)", device="meta")
    taken = [name for name, m in network.named_modules() if isinstance(m, HetConv)]
    assert len(taken) == 11
    assert not any(name.startswith("layer1") for name in taken), "of 16 channels"
    assert "layer2.0.conv1" not in taken, "from 16 channels"


def test_parts_that_divide_nothing_are_refused_with_the_channels() -> None:
    with pytest.raises(SettingError, match=r"hetconv\(parts=5\): 5 divides .* 64, 128, 256, 512"):
        build("resnet18/hetconv(parts=5)", device="meta")


@pytest.mark.parametrize("parts", ["1", "0", "2.5", "many"])
def test_a_setting_out_of_range_is_refused(parts: str) -> None:
    with pytest.raises(SettingError, match=r"hetconv\(parts=.*Input should be"):
        resolve(f"resnet18/hetconv(parts={parts})")


@pytest.mark.parametrize("network", ["mobilenetv2_050", "resnext50_32x4d", "deit_tiny_patch16_224"])
def test_a_network_without_dense_spatial_convolutions_is_refused(network: str) -> None:
    with pytest.raises(UnsupportedNetworkError, match="nothing to replace"):
        build(f"{network}/hetconv", device="meta")
