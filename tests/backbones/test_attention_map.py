"""What is drawn is what the network does: beta by the rule, alpha by the paper's equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backbones.attention_map import Map, attention_maps, by_stage, offering, offers
from backbones.build import anneal, build
from backbones.sites import Role, Site, Slot
from tests.backbones.closeness import relative_error
from tests.backbones.kernel_warehouse_layers import shake

WAREHOUSES = "resnet20_cifar/kernel_warehouse"
LAYER = "layer2.1.conv1"


def small(text: str) -> nn.Module:
    network = build(text, classes=10, image_size=16).eval()
    shake(network)
    return network


def look(text: str, network: nn.Module, images: Tensor) -> list[Map]:
    return attention_maps(text, network, images, classes=10)


def rows_of(one: Map, layer: str) -> slice:
    first = 0
    for section in one.rows.sections:
        if section.name == layer:
            return slice(first, first + section.length)
        first += section.length
    raise AssertionError(f"no rows of {layer}")


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (WAREHOUSES, True),
        ("resnet18/odconv(kernels=4)", True),
        ("resnet18/eca+kernel_warehouse", True),
        ("resnet18/spconv", True),
        ("resnet18/ghost", False),
        ("resnet18/conv", False),
    ],
)
def test_a_backbone_says_without_torch_whether_it_has_maps(text: str, known: bool) -> None:
    assert offers(text) is known


@pytest.mark.parametrize(
    ("budget", "shapes"),
    [("1", [(74, 74), (65, 65), (45, 45)]), ("4", [(74, 296), (65, 260), (45, 180)])],
)
def test_each_warehouse_has_its_start_up_and_its_attention(
    budget: str, shapes: list[tuple[int, int]]
) -> None:
    text = f"{WAREHOUSES}(budget={budget})"
    maps = look(text, small(text), torch.randn(2, 3, 16, 16))
    startups, attentions = maps[::2], maps[1::2]
    assert [one.values.shape for one in startups] == shapes
    assert [one.values.shape for one in attentions] == shapes
    assert [one.group for one in startups] == ["stage0_conv", "stage1_conv", "stage2_conv"]
    assert [one.group for one in attentions] == [one.group for one in startups]
    for one in maps:
        lengths = [sum(part.length for part in axis.sections) for axis in (one.rows, one.columns)]
        assert tuple(lengths) == one.values.shape
        assert (one.rows.label, one.columns.label) == ("mixture", "cell")


def test_the_start_up_gives_mixture_i_of_a_fourfold_warehouse_cell_4i() -> None:
    text = f"{WAREHOUSES}(budget=4)"
    startup = look(text, small(text), torch.randn(1, 3, 16, 16))[0]
    wanted = np.zeros((74, 296))
    wanted[np.arange(74), 4 * np.arange(74)] = 1
    assert startup.spread is None
    assert np.array_equal(startup.values, wanted)


def test_half_of_the_mixtures_of_a_half_warehouse_start_from_nothing() -> None:
    text = f"{WAREHOUSES}(budget=0.5)"
    for one in look(text, small(text), torch.randn(1, 3, 16, 16))[::2]:
        mixtures, cells = one.values.shape
        assert mixtures == 2 * cells
        assert (one.values.sum(0) == 1).all()
        assert sorted(set(one.values.sum(1))) == [0, 1]


def test_mixtures_with_cells_of_their_own_stand_on_a_diagonal_of_blocks() -> None:
    text = f"{WAREHOUSES}(budget=2,sharing=none)"
    maps = look(text, small(text), torch.randn(2, 3, 16, 16))
    own = np.repeat(np.eye(9, dtype=bool), 2, axis=1)
    for startup, attention in zip(maps[::2], maps[1::2], strict=True):
        assert attention.values.shape == startup.values.shape
        if attention.values.shape == (9, 18):
            assert (attention.values != 0)[own].all()
            assert not attention.values[~own].any()
            assert not startup.values[~own].any()
    assert sum(attention.values.shape == (9, 18) for attention in maps[1::2]) > 10


def alpha_by_hand(network: nn.Module, images: Tensor) -> Tensor:
    """The attention of one layer in float64, image by image and row by row, from what comes in."""
    arrived: list[Tensor] = []
    layer = network.get_submodule(LAYER)
    handle = layer.register_forward_pre_hook(lambda _, inputs: arrived.append(inputs[0]))
    with torch.no_grad():
        network(images)
    handle.remove()
    state = {name: value.double() for name, value in layer.state_dict().items()}
    found = []
    for image in arrived[0].double():
        hidden = state["attention.reduce.weight"] @ image.mean((1, 2))
        hidden = hidden - state["attention.norm.running_mean"]
        hidden = hidden / (state["attention.norm.running_var"] + 1e-5).sqrt()
        hidden = hidden * state["attention.norm.weight"] + state["attention.norm.bias"]
        z = state["attention.logits.weight"] @ hidden.clamp_min(0) + state["attention.logits.bias"]
        rows = z.reshape(9, -1)
        found.append(torch.stack([row / (row.abs().sum() + 1e-3) for row in rows])[:, :-1])
    return torch.stack(found)


def test_the_attention_is_that_of_the_equations() -> None:
    network = small(WAREHOUSES)
    images = torch.randn(5, 3, 16, 16)
    attention = look(WAREHOUSES, network, images)[3]
    wanted = alpha_by_hand(network, images)
    rows = rows_of(attention, LAYER)
    assert attention.note == "temperature 0"
    assert attention.values.min() < 0 < attention.values.max()
    assert attention.spread is not None
    mean, spread = (torch.from_numpy(each[rows]) for each in (attention.values, attention.spread))
    assert relative_error(mean, wanted.mean(0)) < 1e-5
    assert relative_error(spread, wanted.std(0, correction=0)) < 1e-4


def test_the_temperature_of_the_network_mixes_the_start_up_in() -> None:
    network = small(WAREHOUSES)
    image = torch.randn(1, 3, 16, 16)
    first_layer = slice(0, 9)  # whose input does not depend on any temperature
    startup, cold = look(WAREHOUSES, network, image)[:2]
    anneal(network, step=5 * 100 - 1, steps_per_epoch=100)  # a quarter of 20 epochs
    warm = look(WAREHOUSES, network, image)[1]
    assert warm.note == "temperature 0.75"
    wanted = 0.25 * cold.values[first_layer] + 0.75 * startup.values[first_layer]
    assert np.allclose(warm.values[first_layer], wanted, atol=1e-6)


def test_many_images_are_shown_in_parts_with_the_same_mean() -> None:
    network = small(WAREHOUSES)
    images = torch.randn(37, 3, 16, 16)
    whole = look(WAREHOUSES, network, images)[1].values
    each = [look(WAREHOUSES, network, image[None])[1].values for image in images]
    assert np.allclose(whole, np.mean(each, axis=0), atol=1e-6)


@pytest.mark.parametrize(
    ("text", "shape", "first"),
    [
        ("resnet20_cifar/dyconv", (20, 4), "layer1.0.conv1"),
        ("resnet20_cifar/odconv(kernels=4)", (18, 4), "layer1.0.conv1"),
        ("resnet20_cifar/condconv", (4, 8), "layer3.0"),
    ],
)
def test_methods_with_kernels_of_their_own_show_layers_by_kernels(
    text: str, shape: tuple[int, int], first: str
) -> None:
    (one,) = look(text, small(text), torch.randn(3, 3, 16, 16))
    assert one.values.shape == shape
    assert one.rows.sections[0].name == first
    if "condconv" not in text:  # whose sigmoids need not add up
        assert np.allclose(one.values.sum(1), 1, atol=1e-5)


def test_odconv_with_one_kernel_has_nothing_to_show() -> None:
    text = "resnet20_cifar/odconv"
    assert look(text, small(text), torch.randn(1, 3, 16, 16)) == []


def test_looking_changes_nothing() -> None:
    network = small(WAREHOUSES)
    images = torch.randn(2, 3, 16, 16)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    wanted = network(images)
    look(WAREHOUSES, network, images)
    assert torch.equal(network(images), wanted)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_the_methods_with_maps_are_those_that_mix_kernels() -> None:
    assert {"kernel_warehouse", "odconv", "dyconv", "condconv"} <= set(offering())


def site(name: str, *, stage: int, block: str = "", gate: bool = False) -> Site:
    slots = frozenset({Slot.GATE if gate else Slot.CONV})
    return Site(name, slots, Role.SPATIAL, stage, 0, block, "conv2d", 4, 4)


def test_weights_of_channels_stand_by_stage_and_width() -> None:
    weights = {
        site("a.conv", stage=0): torch.rand(3, 4),
        site("b.conv", stage=1): torch.rand(3, 8),
        site("c.conv", stage=1): torch.rand(3, 16),
        site("d.norm", stage=1, block="d", gate=True): torch.rand(3, 8),
    }
    maps = by_stage(weights, title="Weight", neutral=0.5)
    assert [(one.group, one.values.shape) for one in maps] == [
        ("stage 0", (1, 4)),
        ("stage 1, 8 channels", (2, 8)),
        ("stage 1, 16 channels", (1, 16)),
    ]
    assert [part.name for part in maps[1].rows.sections] == ["b.conv", "d"]
    assert {one.neutral for one in maps} == {0.5}
    wanted = list(weights.values())
    for one, rows in zip(maps, [wanted[:1], wanted[1::2], wanted[2:3]], strict=True):
        assert one.spread is not None
        assert np.allclose(one.values, [row.mean(0).numpy() for row in rows])
        assert np.allclose(one.spread, [row.numpy().std(0) for row in rows], atol=1e-6)
