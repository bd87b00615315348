from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from backbones.build import build
from backbones.cost import cost
from backbones.errors import SettingError, UnsupportedNetworkError
from backbones.methods.dcd import Settings, controller_width, fused_channels, pooled_side
from backbones.methods.dcd.operator import ChannelFusion
from backbones.resolve import resolve
from backbones.sites import Role, Site, sites
from tests.backbones import reference_dcd
from tests.backbones.closeness import assert_equals_reference, relative_error
from tests.backbones.small_sites import shake, site

BASIC, BOTTLENECK, INVERTED = (
    Settings(rule="basic"),
    Settings(rule="bottleneck"),
    Settings(rule="inverted"),
)


def classifier(channels: tuple[int, int]) -> Site:
    return site(channels, kernel=1, bias=True, kind="linear", role=Role.CLASSIFIER)


def shaken(place: Site, settings: Settings, dtype: torch.dtype = torch.float64) -> ChannelFusion:
    """Give norms statistics that matter, and gates a spread beyond both ends."""
    operator = ChannelFusion(place, settings)
    for module in operator.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=2 * module.in_features**-0.5)
    shake(operator)
    return operator.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize(
    ("place", "settings"),
    [
        (site((4, 6), padding=1, stride=2), BASIC),
        (site((9, 5), padding=1, bias=True), BOTTLENECK),
        (site((5, 4), padding=2, dilation=2, stride=3), BOTTLENECK),
        (site((4, 9), kernel=1), INVERTED),
        (site((8, 4), kernel=1), INVERTED),
    ],
    ids=["quarters, strided", "with a bias", "dilated", "expanding", "projecting"],
)
def test_the_layer_equals_its_reference(
    dtype: torch.dtype, training: bool, images: int, place: Site, settings: Settings
) -> None:
    def reference(x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        return reference_dcd.layer(
            x, state, site=place, side=pooled_side(place, settings), training=training
        )

    operator = shaken(place, settings, dtype).train(training)
    x = torch.randn(images, place.in_channels, 5, 4, dtype=dtype)
    assert_equals_reference(operator, x, reference)
    operator.zero_grad()
    assert_equals_reference(operator, x.contiguous(memory_format=torch.channels_last), reference)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("images", [1, 3])
def test_the_classifier_equals_the_reference_on_a_map_of_one_pixel(
    training: bool, images: int
) -> None:
    place = classifier((6, 3))

    def reference(x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        y = reference_dcd.layer(x[:, :, None, None], state, site=place, side=1, training=training)
        return y[:, :, 0, 0]

    operator = shaken(place, BASIC).train(training)
    assert_equals_reference(operator, torch.randn(images, 6, dtype=torch.float64), reference)


def test_one_value_for_each_channel_leaves_the_statistics_as_they_are() -> None:
    operator = shaken(site((4, 6), padding=1), BASIC).train()
    before = {name: value.clone() for name, value in operator.named_buffers()}
    operator(torch.randn(1, 4, 1, 1, dtype=torch.float64)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in operator.named_buffers())
    operator(torch.randn(1, 4, 3, 1, dtype=torch.float64))
    assert not any(torch.equal(value, before[name]) for name, value in operator.named_buffers())


def test_the_layout_of_the_map_is_kept() -> None:
    x = torch.randn(2, 8, 6, 4).contiguous(memory_format=torch.channels_last)
    operator = ChannelFusion(site((8, 12), padding=1, stride=2), BASIC).eval()
    operator.to(memory_format=torch.channels_last)
    y = operator(x)
    assert y.shape == (2, 12, 3, 2)
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_it_is_a_kernel_for_each_image() -> None:
    """W(x) = Lambda W0 + P (s Phi + 1) Q^T where the norms only scale, by s in the second."""
    operator = ChannelFusion(site((8, 5), kernel=1), BOTTLENECK).double().eval()
    for norm, scale in ((operator.compress_norm, 1.0), (operator.fuse_norm, 0.7)):
        assert norm.running_var is not None
        nn.init.constant_(norm.weight, scale * (1 + norm.eps) ** 0.5)
    x = torch.randn(2, 8, 4, 3, dtype=torch.float64)
    scale, phi = operator.controller(x.mean((2, 3)))
    for n in range(2):
        fusion = 0.7 * phi[n] + torch.eye(2, dtype=torch.float64)
        kernel = scale[n, :, None] * operator.static.weight[:, :, 0, 0]
        kernel = (
            kernel
            + operator.expand.weight[..., 0, 0] @ fusion @ operator.compress.weight[..., 0, 0]
        )
        wanted = torch.einsum("oc,chw->ohw", kernel, x[n])
        assert relative_error(operator(x)[n], wanted) < 1e-12


@pytest.mark.parametrize(
    ("place", "settings", "fused", "width"),
    [
        (site((64, 64)), BASIC, 16, 16),
        (site((512, 512)), BASIC, 45, 128),
        (site((64, 64)), BOTTLENECK, 8, 4),
        (site((256, 64), kernel=1), BOTTLENECK, 16, 16),
        (site((8, 48), kernel=1), INVERTED, 4, 4),
        (site((48, 16), kernel=1), INVERTED, 8, 4),
        (site((16, 96), kernel=1), INVERTED, 8, 4),
        (classifier((1280, 1000)), INVERTED, 32, 32),
    ],
)
def test_widths_are_those_of_the_released_layers(
    place: Site, settings: Settings, fused: int, width: int
) -> None:
    assert fused_channels(place, settings) == fused
    assert controller_width(place, settings) == width


@cache
def taken(text: str) -> list[str]:
    network = build(text, device="meta")
    return [name for name, m in network.named_modules() if isinstance(m, ChannelFusion)]


def test_dense_convolutions_within_blocks_and_the_classifier_change() -> None:
    found = taken("resnet50/dcd")
    assert len(found) == 3 * 16 + 1
    assert found[-1] == "fc"
    assert not any("downsample" in name for name in found)


def test_in_mobilenet_v2_only_blocks_that_expand_change() -> None:
    found = taken("mobilenetv2_050/dcd")
    wanted = [s.name for s in sites("mobilenetv2_050") if s.role in {Role.EXPAND, Role.PROJECT}]
    assert found == [name for name in wanted if not name.startswith("blocks.0.0")] + ["classifier"]


def test_linear_layers_begin_as_in_the_release_of_their_rule() -> None:
    resnet, mobilenet = (
        ChannelFusion(classifier((512, 400)), settings).controller.scale.weight.detach()
        for settings in (BASIC, INVERTED)
    )
    assert resnet.abs().max() <= 32**-0.5
    assert resnet.std() > 0.09
    assert 0.0095 < float(mobilenet.std()) < 0.0105


def test_both_released_widths_of_the_controller_have_their_known_counts() -> None:
    assert cost("mobilenetv2_100/dcd").params == 5_720_028
    assert cost("mobilenetv2_100/dcd(squeeze=8)").params == 7_452_088


def test_a_network_of_which_only_the_classifier_would_change_is_refused() -> None:
    with pytest.raises(UnsupportedNetworkError, match="nothing to replace"):
        build("convnext_tiny/dcd", device="meta")


@pytest.mark.parametrize("text", ["dcd(squeeze=0)", "dcd(rule=wide)"])
def test_a_setting_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"dcd\(\w+=\w+\): Input should be"):
        resolve(f"resnet18/{text}")
