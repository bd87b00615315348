from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from backbones.build import build
from backbones.cost import cost
from backbones.errors import SettingError, UnsupportedNetworkError
from backbones.methods.depthwise_separable import Settings
from backbones.methods.depthwise_separable.operator import DepthwiseSeparable
from backbones.resolve import resolve
from backbones.sites import Site, sites
from tests.backbones.reference_depthwise_separable import depthwise_separable
from tests.backbones.small_sites import shake, site
from tests.backbones.thinned_layers import PLACES, assert_half_precision, assert_layer_equals

BETWEEN = ("norm_act", "norm", "nothing")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_the_layer_equals_its_reference(
    dtype: torch.dtype, training: bool, between: str, place: Site
) -> None:
    def reference(x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        return depthwise_separable(x, state, site=place, between=between, training=training)

    layer = DepthwiseSeparable(place, Settings.model_validate({"between": between}))
    shake(layer)
    assert_layer_equals(layer.to(dtype).train(training), place, reference)


def test_half_precision_stays_within_its_tolerance() -> None:
    place = PLACES["stride 3, bias"]
    layer = DepthwiseSeparable(place, Settings()).eval()
    shake(layer)
    reference = partial(depthwise_separable, site=place, between="norm_act", training=False)
    assert_half_precision(layer, place, reference)


def test_the_layout_of_the_map_is_kept() -> None:
    x = torch.randn(2, 8, 6, 5).contiguous(memory_format=torch.channels_last)
    layer = DepthwiseSeparable(site((8, 4), padding=1, stride=2), Settings())
    assert layer(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("between", BETWEEN)
def test_what_stands_between_is_what_the_setting_says(between: str) -> None:
    network = build(f"resnet18/depthwise_separable(between={between})", device="meta")
    layer = network.get_submodule("layer1.0.conv1")
    assert isinstance(layer, DepthwiseSeparable)
    assert isinstance(layer.norm, nn.BatchNorm2d) == (between != "nothing")
    assert isinstance(layer.act, nn.ReLU) == (between == "norm_act")


def test_kernels_start_with_the_deviation_of_what_leaves_a_channel() -> None:
    layer = DepthwiseSeparable(site((256, 512), padding=1), Settings())
    assert float(layer.depthwise.weight.detach().std()) == pytest.approx((2 / 9) ** 0.5, rel=0.05)
    assert float(layer.pointwise.weight.detach().std()) == pytest.approx((2 / 512) ** 0.5, rel=0.02)


@pytest.mark.parametrize("between", BETWEEN)
def test_counts_follow_the_formula(between: str) -> None:
    plain = cost("resnet50/conv")
    split = cost(f"resnet50/depthwise_separable(between={between})")
    taken = [s for s in sites("resnet50") if s.kernel_size == (3, 3)]
    assert len(taken) == 16
    # 9 M + M L in place of 9 M L, and a norm with a weight and a bias for each of M channels
    fewer = [s.in_channels * (8 * s.out_channels - 9) for s in taken]
    norms = 0 if between == "nothing" else sum(2 * s.in_channels for s in taken)
    pixels = [s.out_size[0] * s.out_size[1] for s in taken]
    assert split.params == plain.params - sum(fewer) + norms
    assert split.madds == plain.madds - sum(a * b for a, b in zip(fewer, pixels, strict=True))


@pytest.mark.parametrize(
    ("network", "taken"),
    [("resnet18", 16), ("resnet50", 16), ("vgg16_bn", 12), ("resnet20_cifar", 18)],
)
def test_it_takes_each_dense_3x3_but_the_stem(network: str, taken: int) -> None:
    built = build(f"{network}/depthwise_separable", device="meta")
    assert sum(isinstance(m, DepthwiseSeparable) for m in built.modules()) == taken


@pytest.mark.parametrize("between", ["relu", "norm_relu", "true"])
def test_a_setting_out_of_range_is_refused(between: str) -> None:
    with pytest.raises(SettingError, match=r"depthwise_separable\(between=.*Input should be"):
        resolve(f"resnet18/depthwise_separable(between={between})")


@pytest.mark.parametrize("network", ["mobilenetv2_050", "resnext50_32x4d", "deit_tiny_patch16_224"])
def test_a_network_without_dense_spatial_convolutions_is_refused(network: str) -> None:
    with pytest.raises(UnsupportedNetworkError, match="nothing to replace"):
        build(f"{network}/depthwise_separable", device="meta")
