"""Networks with gates: as timm builds them, fused, and what pages show of their gates."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from backbones import weights
from backbones.attention_map import Map, attention_maps, offers
from backbones.build import build
from backbones.fusion import fuse
from backbones.gate import Gate, InPlaceGate, ProductGate
from tests.backbones.closeness import relative_error
from tests.backbones.small_sites import shake

TIMM_FORMS = {
    "se": "se(bias=true,divisor=8)",
    "eca": "eca(kernels=rule)",
    "cbam": "cbam(form=timm)",
}


def drawn(network: nn.Module) -> nn.Module:
    """Give norms statistics and shifts, none of them at nought."""
    torch.manual_seed(1)
    for name, value in network.named_parameters():
        if value.ndim == 1 and name.endswith("weight"):
            nn.init.ones_(value)
    shake(network)
    return network.eval()


@pytest.mark.parametrize("network", ["resnet18", "resnet50"])
@pytest.mark.parametrize("method", TIMM_FORMS)
def test_a_network_of_timm_s_computes_the_same_here(network: str, method: str) -> None:
    theirs = drawn(timm.create_model(network, block_args={"attn_layer": method}).double())
    text = f"{network}/{TIMM_FORMS[method]}"
    ours = build(text).double().eval()
    fit = weights.load(ours, theirs.state_dict(), backbone=text)
    assert fit.tensors == len(theirs.state_dict())
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        wanted = theirs(x)
        assert relative_error(ours(x), wanted) < 1e-12
    assert relative_error(wanted[0], wanted[1]) > 1e-6  # the network has not lost its signal


@pytest.mark.parametrize("width", ["050", "100", "130"])
def test_a_ghostnet_of_timm_s_is_a_plain_network_here(width: str) -> None:
    theirs = drawn(timm.create_model(f"ghostnet_{width}").double())
    ours = build(f"ghostnet_{width}").double().eval()
    weights.load(ours, theirs.state_dict(), backbone=f"ghostnet_{width}")
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))


GATED = ("resnet18", "resnet50d", "mobilenetv2_050", "convnext_atto", "regnetx_002", "resnetv2_50")


@pytest.mark.parametrize("network", GATED)
@pytest.mark.parametrize("method", ["se", "eca", "cbam"])
def test_fused_a_network_gives_the_same(network: str, method: str) -> None:
    gated = drawn(build(f"{network}/{method}"))
    gates = sum(isinstance(m, Gate) for m in gated.modules())
    fused = fuse(gated, image_size=64)
    found = [m for m in fused.modules() if isinstance(m, InPlaceGate | ProductGate)]
    assert len(found) == gates > 0
    for size in (64, 96):
        x = torch.randn(2, 3, size, size)
        before = x.clone()
        with torch.no_grad():
            assert relative_error(fused(x), gated(x)) < 1e-5
        assert torch.equal(x, before)


def shown(text: str, images: Tensor) -> tuple[nn.Module, list[Map]]:
    network = drawn(build(text, classes=10, image_size=images.shape[-1]))
    return network, attention_maps(text, network, images, classes=10)


def gates_of(network: nn.Module, path: str, images: Tensor) -> Tensor:
    """What a gate scales its map by, from the map itself."""
    kept: list[Tensor] = []
    gate = network.get_submodule(path)
    handle = gate.register_forward_hook(lambda _, given, out: kept.append(out / given[0]))
    with torch.no_grad():
        network(images)
    handle.remove()
    return kept[0]


@pytest.mark.parametrize(
    "text",
    ["resnet18/se", "resnet18/eca", "resnet18/se(reduction=none)", "resnet18/eca(shared=false)"],
)
def test_a_map_of_a_stage_has_the_gate_of_each_channel(text: str) -> None:
    images = torch.randn(3, 3, 64, 64)
    network, (_, *stages) = shown(text, images)
    assert [one.group for one in stages] == [f"gates of stage {stage}" for stage in range(4)]
    assert [one.values.shape for one in stages] == [(2, 64), (2, 128), (2, 256), (2, 512)]
    wanted = gates_of(network, "layer2.1.se", images).amax((2, 3))
    mean, spread = wanted.mean(0).numpy(), wanted.std(0, correction=0).numpy()
    assert [section.name for section in stages[1].rows.sections] == ["layer2.0", "layer2.1"]
    np.testing.assert_allclose(stages[1].values[1], mean, atol=1e-5)
    assert stages[1].spread is not None
    np.testing.assert_allclose(stages[1].spread[1], spread, atol=1e-5)


def test_layers_of_any_width_are_compared_by_how_their_gates_are_spread() -> None:
    images = torch.randn(3, 3, 64, 64)
    network, (spread, *_) = shown("mobilenetv2_050/se", images)
    assert spread.group == "all gates"
    assert spread.values.shape == (17, 10)
    np.testing.assert_allclose(spread.values.sum(1), 1, atol=1e-6)
    gates = gates_of(network, "blocks.3.1.bn3.1", images).amax((2, 3)).flatten()
    row = [section.name for section in spread.rows.sections].index("blocks.3.1")
    counts, _ = np.histogram(gates.numpy(), bins=10, range=(0, 1))
    np.testing.assert_allclose(spread.values[row], counts / counts.sum(), atol=1e-6)


def test_places_are_shown_one_layer_below_another() -> None:
    images = torch.randn(2, 3, 64, 64)
    network, maps = shown("resnet18/cbam", images)
    channels = [one for one in maps if one.group.startswith("gates of")]
    places = [one for one in maps if one.group.startswith("places of")]
    assert len(channels) == len(places) == 4
    assert places[1].values.shape == (16, 8)
    wanted = gates_of(network, "layer2.1.se.spatial", images).mean(1).mean(0).numpy()
    np.testing.assert_allclose(places[1].values[8:], wanted, atol=1e-4)


def test_two_methods_of_a_network_are_told_apart() -> None:
    _, maps = shown("resnet18/se+eca", torch.randn(2, 3, 64, 64))
    groups = [one.group for one in maps]
    titles = {one.title for one in maps if one.group == "gates of stage 1"}
    assert all(groups.count(group) == 2 for group in groups)
    assert titles == {"SE gate of each channel", "ECA gate of each channel"}


def test_parts_of_cbam_that_are_left_out_are_not_shown() -> None:
    show = partial(shown, images=torch.randn(1, 3, 64, 64))
    _, channels = show("resnet18/cbam(spatial=false)")
    _, places = show("resnet18/cbam(channel=false)")
    assert [one.group for one in places] == [f"places of stage {stage}" for stage in range(4)]
    assert not any(one.group.startswith("places") for one in channels)


@pytest.mark.parametrize("method", ["se", "eca", "cbam"])
def test_a_gated_network_says_that_it_has_maps(method: str) -> None:
    assert offers(f"resnet18/{method}")
