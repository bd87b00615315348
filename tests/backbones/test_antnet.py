from __future__ import annotations

import pytest
import torch

from backbones.build import build
from backbones.cost import cost
from backbones.describe import describe
from backbones.sites import Role, sites

COUNTS = {
    "antnet_1_0": ("mobilenetv2_100/ant", 3_820_584, 301_089_984),
    "antnet_1_0_g2": ("mobilenetv2_100/ant(groups=2)", 3_338_984, 242_032_832),
    "antnet_1_4": ("mobilenetv2_140/ant", 6_729_704, 582_816_752),
    "antnet_1_4_g2": ("mobilenetv2_140/ant(groups=2)", 5_782_568, 465_367_280),
}


@pytest.mark.parametrize("network", COUNTS)
def test_it_is_the_mobilenetv2_of_its_blocks(network: str) -> None:
    same, params, madds = COUNTS[network]
    counted = cost(f"{network}/conv")
    assert (counted.params, counted.madds) == (params, madds)
    ours, other = (
        [tuple(value.shape) for value in build(text, device="meta").parameters()]
        for text in (f"{network}/conv", same)
    )
    assert ours == other


@pytest.mark.parametrize(
    ("network", "params", "madds"),
    [
        ("mobilenetv2_100_cifar", 2_351_972, 88_091_648),
        ("antnet_1_0_cifar", 2_667_684, 88_407_360),
        ("antnet_1_0_g2_cifar", 2_186_084, 69_909_824),
    ],
)
def test_for_cifar_it_has_these_counts_and_ends_in_maps_of_four(
    network: str, params: int, madds: int
) -> None:
    counted = cost(f"{network}/conv", classes=100, image_size=32)
    assert (counted.params, counted.madds) == (params, madds)
    assert describe(f"{network}/conv").image_size == 32
    blocks = [site for site in sites(network, image_size=32) if site.kind == "block"]
    assert blocks[-1].out_size == (4, 4)


def test_two_groups_save_on_cifar_what_the_abstract_says_within_two_percent() -> None:
    plain, grouped = (
        cost(f"{network}/conv", classes=100, image_size=32)
        for network in ("mobilenetv2_100_cifar", "antnet_1_0_g2_cifar")
    )
    assert 100 * (1 - grouped.params / plain.params) == pytest.approx(8.3, abs=2)
    assert 100 * (1 - grouped.madds / plain.madds) == pytest.approx(19.6, abs=2)


def test_its_layers_have_the_roles_of_an_inverted_residual() -> None:
    roles = [site.role for site in sites("antnet_1_0") if site.kind in {"conv2d", "linear"}]
    counted = {role: roles.count(role) for role in set(roles)}
    assert counted == {
        Role.STEM: 1,
        Role.EXPAND: 16,
        Role.DEPTHWISE: 17,
        Role.ATTENTION: 34,
        Role.PROJECT: 17,
        Role.POINTWISE: 1,
        Role.CLASSIFIER: 1,
    }


def test_it_learns_from_images_of_cifar() -> None:
    network = build("antnet_1_0_g2_cifar/conv", classes=10).train()
    scores = network(torch.randn(2, 3, 32, 32))
    scores.square().sum().backward()
    assert scores.shape == (2, 10)
    assert all(value.grad is not None for value in network.parameters())
