"""Sites of the networks that papers use, held to tables; other networks are read too."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import nn

from backbones import network as networks
from backbones.build import build
from backbones.errors import UnsupportedNetworkError
from backbones.sites import Role, Site, Slot, sites


def layers(network: str, image_size: int = 224) -> list[Site]:
    return [s for s in sites(network, image_size=image_size) if s.kind in {"conv2d", "linear"}]


def roles(network: str) -> Counter[Role]:
    return Counter(site.role for site in layers(network))


FAMILIES = {
    # network: role to count, blocks per stage
    "resnet18": (
        {Role.STEM: 1, Role.SPATIAL: 16, Role.SHORTCUT: 3, Role.CLASSIFIER: 1},
        [2, 2, 2, 2],
    ),
    "resnet50": (
        {Role.STEM: 1, Role.SPATIAL: 16, Role.POINTWISE: 32, Role.SHORTCUT: 4, Role.CLASSIFIER: 1},
        [3, 4, 6, 3],
    ),
    "mobilenetv2_100": (
        {
            Role.STEM: 1,
            Role.DEPTHWISE: 17,
            Role.EXPAND: 16,
            Role.PROJECT: 17,
            Role.POINTWISE: 1,
            Role.CLASSIFIER: 1,
        },
        [1, 2, 3, 4, 3, 3, 1],
    ),
    "convnext_tiny": (
        {
            Role.STEM: 1,
            Role.DOWNSAMPLE: 3,
            Role.DEPTHWISE: 18,
            Role.EXPAND: 18,
            Role.PROJECT: 18,
            Role.CLASSIFIER: 1,
        },
        [3, 3, 9, 3],
    ),
    "deit_tiny_patch16_224": (
        {Role.STEM: 1, Role.ATTENTION: 24, Role.EXPAND: 12, Role.PROJECT: 12, Role.CLASSIFIER: 1},
        [12],
    ),
    "shufflenet_v2_x1_0": (
        # 58 channels enter and leave a branch alike; the first unit's branch turns 24 into 58
        {
            Role.STEM: 1,
            Role.DEPTHWISE: 19,
            Role.POINTWISE: 34,
            Role.EXPAND: 2,
            Role.CLASSIFIER: 1,
        },
        [4, 8, 4],
    ),
}


@pytest.mark.parametrize("network", FAMILIES)
def test_roles_and_stages_of_the_families_that_papers_use(network: str) -> None:
    expected_roles, blocks = FAMILIES[network]
    assert roles(network) == Counter(expected_roles)
    found = [site for site in sites(network) if site.kind == "block"]
    assert [site.stage for site in found] == [
        stage for stage, count in enumerate(blocks) for _ in range(count)
    ]
    assert [site.block for site in found] == [rank for count in blocks for rank in range(count)]


def test_a_site_carries_the_shape_of_its_convolution_and_map() -> None:
    by_name = {site.name: site for site in sites("resnet18")}
    conv = by_name["layer2.0.conv1"]
    assert (conv.in_channels, conv.out_channels, conv.kernel_size) == (64, 128, (3, 3))
    assert (conv.stride, conv.padding, conv.groups, conv.bias) == ((2, 2), (1, 1), 1, False)
    assert (conv.in_size, conv.out_size) == ((56, 56), (28, 28))
    assert (conv.norm, conv.act, conv.act_type) == ("layer2.0.bn1", "layer2.0.act1", "relu")
    assert conv.slots == {Slot.CONV, Slot.CONV_NORM_ACT}
    stem, fc = by_name["conv1"], by_name["fc"]
    assert (stem.stage, stem.block, fc.stage, fc.block) == (-1, -1, 4, -1)


def test_the_activation_behind_a_residual_sum_is_not_the_norms_follower() -> None:
    by_name = {site.name: site for site in sites("resnet18")}
    assert by_name["layer1.0.conv2"].norm == "layer1.0.bn2"
    assert by_name["layer1.0.conv2"].act == ""
    assert by_name["layer1.0.conv2"].act_type == ""


def test_an_activation_inside_the_norm_is_named_too() -> None:
    by_name = {site.name: site for site in sites("mobilenetv2_100")}
    assert by_name["blocks.1.0.conv_pw"].act_type == "relu6"
    assert by_name["blocks.1.0.conv_pw"].act == ""
    assert by_name["blocks.1.0.conv_pwl"].act_type == ""


@pytest.mark.parametrize(
    ("network", "count", "first"),
    [
        ("resnet18", 8, ("layer1.0.se", 64)),
        ("resnet50", 16, ("layer1.0.se", 256)),
        ("mobilenetv2_100", 17, ("blocks.0.0.bn2", 16)),
        ("convnext_tiny", 18, ("stages.0.blocks.0.drop_path", 96)),
        ("deit_tiny_patch16_224", 0, None),
        # of two kinds of blocks, one runs its stochastic depth twice, on tokens and on maps
        ("edgenext_xx_small", 9, ("stages.0.blocks.0.drop_path", 24)),
    ],
)
def test_gates_stand_at_the_end_of_the_main_path(
    network: str, count: int, first: tuple[str, int] | None
) -> None:
    gates = [site for site in sites(network) if Slot.GATE in site.slots]
    assert len(gates) == count
    if first is not None:
        assert (gates[0].name, gates[0].out_channels) == first


@pytest.mark.parametrize("network", ["resnet18", "resnet50", "mobilenetv2_100", "efficientnet_b0"])
def test_a_small_image_changes_the_map_sizes_alone(network: str) -> None:
    def structure(size: int) -> list[Site]:
        found = sites(network, image_size=size)
        return [replace(site, in_size=(1, 1), out_size=(1, 1)) for site in found]

    assert structure(16) == structure(224)
    gates = [site.out_size for site in sites("resnet18", image_size=16) if site.kind == "gate"]
    assert gates == [(4, 4)] * 2 + [(2, 2)] * 2 + [(1, 1)] * 4


@pytest.mark.parametrize("size", [32, 33, 65])
def test_map_sizes_are_those_of_a_real_pass(size: int) -> None:
    text = "resnet18(stem=small)"
    real: dict[str, tuple[int, ...]] = {}
    network = build(f"{text}/conv", classes=10, image_size=size)
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda _, __, out, name=name: real.__setitem__(name, tuple(out.shape[2:]))
            )
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, size, size))
    found = {s.name: s.out_size for s in sites(text, image_size=size) if s.kind == "conv2d"}
    assert found == real


@pytest.mark.parametrize(
    "network",
    [
        "densenet121",
        "vgg16_bn",
        "mobilenet_v3_small",
        "regnet_x_400mf",
        "swin_tiny_patch4_window7_224",
    ],
)
def test_other_networks_are_read_too(network: str) -> None:
    found = layers(network)
    plain = networks.create(network, options=networks.Options(), classes=1000, device="meta")
    expected = [
        name for name, module in plain.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    assert {site.name for site in found} == set(expected)
    assert found[-1].role is Role.CLASSIFIER
    assert all(site.role is not Role.CLASSIFIER for site in found[:-1])
    assert found[0].role is Role.STEM


def test_a_layer_with_a_forward_of_its_own_offers_no_slot() -> None:
    found = [site for site in layers("tf_efficientnet_b0") if not site.slots]
    assert found, "tf_ networks pad asymmetrically in a forward of their own"
    assert all(site.stride == (2, 2) for site in found)


def test_an_image_that_a_network_cannot_take_is_refused_in_words() -> None:
    with pytest.raises(UnsupportedNetworkError, match="does not take one 7x7 image"):
        sites("vgg16_bn", image_size=7)


@pytest.mark.parametrize(
    ("network", "widths"),
    [
        ("mobilenetv2_050", [16, 48, 96]),
        ("efficientnet_b0", [32, 96, 144]),
        ("mobilenetv3_large_100", [16, 64, 72]),
        ("shufflenet_v2_x1_0", [1, 1, 1]),
        ("convnext_tiny", [1, 1, 1]),
        ("ghostnet_100", [1, 1, 1]),
        ("resnext50_32x4d", [1, 1, 1]),
    ],
)
def test_a_block_says_its_width_where_it_is_an_inverted_residual(
    network: str, widths: list[int]
) -> None:
    blocks = [site for site in sites(network) if site.kind == "block"]
    assert [site.groups for site in blocks[: len(widths)]] == widths


@pytest.mark.parametrize("size", [33, 224])
@pytest.mark.parametrize("network", ["resnet18", "mobilenetv2_050"])
def test_the_stride_of_a_block_does_not_depend_on_the_image(network: str, size: int) -> None:
    blocks = [site for site in sites(network, image_size=size) if site.kind == "block"]
    halving = {"resnet18": [2, 4, 6], "mobilenetv2_050": [1, 3, 6, 13]}[network]
    assert [i for i, site in enumerate(blocks) if site.stride == (2, 2)] == halving
