from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from backbones.build import build
from backbones.cost import cost
from backbones.errors import SettingError, UnsupportedNetworkError
from backbones.methods.octconv import METHOD, Settings, low_channels
from backbones.methods.octconv.operator import OctConv
from backbones.resolve import resolve
from backbones.selection import select
from backbones.sites import Pair, Site, sites
from tests.backbones.closeness import TOLERANCE, relative_error
from tests.backbones.reference_octconv import octconv
from tests.backbones.small_sites import site
from tests.backbones.thinned_layers import assert_half_precision, assert_layer_equals

PLACES = {
    "3x3": site((5, 6), padding=1),
    "stride 2": site((6, 5), padding=1, stride=2),
    "1x1": site((4, 6), kernel=1, bias=True),
    "1x1, stride 2": site((6, 4), kernel=1, stride=2),
    "5x5, dilation": site((4, 4), kernel=5, padding=4, dilation=2, bias=True),
    "uneven": replace(site((4, 6)), kernel_size=(1, 5), padding=(0, 2)),
}
LOW = {"inside": (2, 3), "first": (0, 3), "last": (2, 0)}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("low", LOW.values(), ids=LOW)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_the_layer_equals_its_reference(dtype: torch.dtype, low: Pair, place: Site) -> None:
    def reference(x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        return octconv(x, state, site=place, low=low)

    layer = OctConv(place, low)
    if layer.bias is not None:
        nn.init.normal_(layer.bias)
    assert_layer_equals(layer.to(dtype), place, reference)


@pytest.mark.parametrize("low", LOW.values(), ids=LOW)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@torch.no_grad()
def test_the_form_for_inference_takes_up_a_norm(low: Pair, place: Site) -> None:
    layer = OctConv(place, low).double()
    if layer.bias is not None:
        nn.init.normal_(layer.bias)
    scale, shift = torch.randn(2, place.out_channels, dtype=torch.float64)
    x = torch.randn(2, place.in_channels, 7, 6, dtype=torch.float64)
    wanted = layer(x) * scale[:, None, None] + shift[:, None, None]
    fused = layer.fused()
    fused.absorb(scale, shift)
    assert relative_error(fused(x), wanted) < TOLERANCE[torch.float64]


def test_half_precision_stays_within_its_tolerance() -> None:
    place = PLACES["5x5, dilation"]
    layer = OctConv(place, (2, 2))
    assert_half_precision(layer, place, lambda x, s: octconv(x, s, site=place, low=(2, 2)))


def test_nothing_is_lost_between_two_layers_on_even_sides() -> None:
    first, second = OctConv(site((4, 6), padding=1), (0, 3)), OctConv(site((6, 4)), (3, 2))
    between = first(torch.randn(2, 4, 8, 4))[:, 3:]
    low = nn.functional.avg_pool2d(between, 2)
    assert torch.equal(low.repeat_interleave(2, 2).repeat_interleave(2, 3), between)
    assert second.inputs["low"] == first.outputs["low"] == slice(3, 6)


def test_a_constant_map_is_convolved_as_by_the_plain_convolution() -> None:
    place = site((6, 4), kernel=1, bias=True)
    plain, layer = nn.Conv2d(6, 4, 1), OctConv(place, (3, 2))
    layer.load_state_dict(plain.state_dict())
    x = torch.randn(2, 6, 1, 1).expand(-1, -1, 7, 5)
    assert torch.allclose(layer(x), plain(x), atol=1e-5)


def test_the_layout_of_the_map_is_kept() -> None:
    x = torch.randn(2, 8, 6, 5).contiguous(memory_format=torch.channels_last)
    for low in LOW.values():
        layer = OctConv(site((8, 8), padding=1, stride=2), low)
        assert layer(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("backbone", "madds"),
    [("resnet50/octconv", 2_367_143_936), ("resnet101/octconv", 3_991_240_704)],
)
def test_counts_are_those_that_a_release_prints(backbone: str, madds: int) -> None:
    network = backbone.partition("/")[0]
    counted = cost(backbone)
    assert counted.params == cost(f"{network}/conv").params
    assert counted.madds == madds


@pytest.mark.parametrize(("alpha", "madds_g"), [(0.125, 3.6), (0.25, 3.1), (0.5, 2.4), (0.75, 1.9)])
def test_resnet50_has_the_multiply_adds_that_the_paper_prints(alpha: float, madds_g: float) -> None:
    assert round(cost(f"resnet50/octconv(alpha={alpha})").madds / 1e9, 1) == madds_g


@pytest.mark.parametrize(
    ("alpha", "percent"), [(0.125, 82), (0.25, 67), (0.5, 44), (0.75, 30), (0.875, 26)]
)
def test_an_inner_layer_costs_the_share_that_the_paper_prints(alpha: float, percent: int) -> None:
    def madds(method: str) -> int:
        return cost(f"resnet50/{method}").layers["layer1.1.conv2"].madds

    share = madds(f"octconv(alpha={alpha})") / madds("conv")
    assert share == pytest.approx(1 - 0.75 * alpha * (2 - alpha))
    assert round(100 * share) == percent


def test_low_channels_begin_in_the_first_block_and_end_in_the_last_stage() -> None:
    taken = select("octconv", Settings(), sites("resnet50"), network="resnet50")
    low = low_channels(taken, Settings())
    assert len(taken) == 52 - 8, "the last stage has low channels in its first two layers only"
    assert low["layer1.0.conv1"] == (0, 32)
    assert low["layer1.0.downsample.0"] == (0, 128)
    assert low["layer1.0.conv2"] == (32, 32)
    assert low["layer2.0.downsample.0"] == (128, 256)
    assert low["layer4.0.conv1"] == (512, 0)
    assert low["layer4.0.downsample.0"] == (512, 0)
    assert [name for name in low if name.startswith("layer4")] == [
        "layer4.0.conv1",
        "layer4.0.downsample.0",
    ]


def test_a_network_of_one_stage_begins_and_ends_with_high_channels() -> None:
    settings = Settings(alpha=0.25)
    taken = select("octconv", settings, sites("vgg11_bn"), network="vgg11_bn")
    low = list(low_channels(taken, settings).values())
    assert low == [(0, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 128), (128, 0)]


def test_low_channels_are_the_same_when_asked_again_of_what_was_taken() -> None:
    every = [s for s in sites("mobilenetv2_100") if METHOD.takes(s, Settings())]
    low = low_channels(every, Settings())
    taken = [s for s in every if any(low[s.name])]
    assert low_channels(taken, Settings()) == {s.name: low[s.name] for s in taken}


@pytest.mark.parametrize("network", ["mobilenetv2_050", "resnext50_32x4d"])
def test_depthwise_and_grouped_convolutions_stay(network: str) -> None:
    built = build(f"{network}/octconv", device="meta")
    plain = build(f"{network}/conv", device="meta")
    grouped = [n for n, m in plain.named_modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert grouped
    assert all(isinstance(built.get_submodule(name), nn.Conv2d) for name in grouped)


@pytest.mark.parametrize("alpha", ["0", "1", "-0.5", "half"])
def test_a_setting_out_of_range_is_refused(alpha: str) -> None:
    with pytest.raises(SettingError, match=r"octconv\(alpha=.*Input should be"):
        resolve(f"resnet18/octconv(alpha={alpha})")


def test_a_network_without_convolutions_is_refused() -> None:
    with pytest.raises(UnsupportedNetworkError, match="nothing to replace"):
        build("deit_tiny_patch16_224/octconv", device="meta")
