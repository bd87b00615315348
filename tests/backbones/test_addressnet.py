"""AddressNet-20, AddressNet-44 and Enhanced AddressNet, as far as they are published, and ours."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from backbones.build import build
from backbones.cost import cost
from backbones.describe import describe
from backbones.fusion import fuse
from backbones.shift.block import AddressBlock
from backbones.sites import Slot, sites
from tests.backbones.closeness import TOLERANCE, relative_error
from tests.backbones.small_sites import shake

CIFAR = ("addressnet_20", "addressnet_44", "addressnet_20_add", "addressnet_44_add")
SIDES = {**dict.fromkeys(CIFAR, 32), "enhanced_addressnet": 64}
every = pytest.mark.parametrize("name", SIDES)


@pytest.mark.parametrize(
    ("name", "params", "madds", "printed_m"),
    [
        ("addressnet_20", 76_228, 12_638_464, 0.1),
        ("addressnet_44", 178_820, 26_794_240, 0.2),
        ("addressnet_20_add", 100_756, 16_177_408, 0.1),
        ("addressnet_44_add", 236_052, 35_051_776, 0.2),
    ],
)
def test_parameters_are_the_printed_ones_to_their_digit(
    name: str, params: int, madds: int, printed_m: float
) -> None:
    counted = cost(name, classes=100, image_size=32)
    assert (counted.params, counted.madds) == (params, madds)
    assert round(counted.params / 1e6, 1) == printed_m


def test_the_enhanced_network_has_the_counts_of_our_reading() -> None:
    counted = cost("enhanced_addressnet")
    assert (counted.params, counted.madds) == (2_668_552, 486_617_088)


@pytest.mark.parametrize("name", CIFAR)
def test_networks_of_cifar_are_described_at_its_size(name: str) -> None:
    assert describe(name).image_size == 32


def test_the_enhanced_network_is_described_at_the_size_of_imagenet() -> None:
    assert describe("enhanced_addressnet").image_size == 224


@pytest.mark.parametrize(("name", "layers"), [("addressnet_20", 20), ("addressnet_44", 44)])
def test_the_name_counts_the_layers(name: str, layers: int) -> None:
    network = build(name, classes=100, image_size=32, device="meta")
    blocks = [module for module in network.modules() if isinstance(module, AddressBlock)]
    assert 2 * len(blocks) + 2 == layers


def test_the_network_is_the_method_on_the_resnet_of_its_depth() -> None:
    networks = [
        build(text, classes=10, image_size=32) for text in ("addressnet_20", "resnet20_cifar/shift")
    ]
    networks[1].load_state_dict(networks[0].state_dict())
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(*(network.eval()(x) for network in networks))


@every
def test_odd_images_pass_in_either_mode_and_train_every_parameter(name: str) -> None:
    network = build(name, classes=7, image_size=SIDES[name])
    shake(network)
    x = torch.randn(2, 3, SIDES[name] + 1, SIDES[name] - 3)
    network.train()(x).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())
    with torch.no_grad():
        assert network.eval()(x).shape == (2, 7)


@every
def test_layouts_precisions_and_fusion_do_not_change_the_numbers(name: str) -> None:
    network, side = build(name, classes=7, image_size=SIDES[name]), SIDES[name]
    shake(network)
    network.eval()
    x = torch.randn(3, 3, side, side)
    fused = fuse(network, image_size=side)
    recorded = network(x)
    with torch.no_grad():
        wanted = copy.deepcopy(network).double()(x.double())
        found = {
            "usual": network(x),
            "gradients recorded": recorded,
            "channels last": network(x.contiguous(memory_format=torch.channels_last)),
            "fused": fused(x),
        }
    allowed = 10 * TOLERANCE[torch.float32]
    large = {how: relative_error(y, wanted) for how, y in found.items()}
    assert max(large.values()) < allowed, large
    norms = {type(module) for module in fused.modules()} & {nn.BatchNorm2d}
    assert not norms, "a norm was left"


@pytest.mark.parametrize("name", ["addressnet_20", "enhanced_addressnet"])
def test_a_network_is_exported(name: str) -> None:
    network = build(name, classes=7, image_size=SIDES[name]).eval()
    x = torch.randn(2, 3, SIDES[name], SIDES[name])
    with torch.no_grad():
        program = torch.export.export(network, (x,)).module()
        assert relative_error(program(x), network(x)) < 10 * TOLERANCE[torch.float32]


def test_its_blocks_are_found_and_take_a_gate() -> None:
    assert sum(Slot.BLOCK in site.slots for site in sites("addressnet_20", image_size=32)) == 9
    plain, gated = (
        build(text, classes=10, image_size=32) for text in ("addressnet_20", "addressnet_20/eca")
    )
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        gated.load_state_dict(plain.state_dict(), strict=False)
        y = gated.eval()(x)
        assert relative_error(y, plain.eval()(x)) > 0.01, "the gates were passed by"
    assert relative_error(gated(x), y) < 10 * TOLERANCE[torch.float32]
