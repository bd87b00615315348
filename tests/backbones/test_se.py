from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from timm.layers.squeeze_excite import SEModule

from backbones.build import build
from backbones.cost import cost
from backbones.errors import SettingError
from backbones.methods.se import Settings
from backbones.methods.se.operator import (
    MatrixExcitation,
    MeanExcitation,
    hidden_channels,
)
from backbones.resolve import resolve
from backbones.sites import Slot, sites
from backbones.squeeze_excitation import SqueezeExcitation


@pytest.mark.parametrize(
    ("channels", "settings", "hidden"),
    [
        (256, Settings(), 16),
        (16, Settings(reduction=8), 2),
        (8, Settings(), 1),
        (64, Settings(divisor=8), 8),
        (320, Settings(divisor=8), 24),
    ],
)
def test_the_squeeze_is_rounded_to_the_divisor(
    channels: int, settings: Settings, hidden: int
) -> None:
    assert hidden_channels(channels, settings) == hidden


def test_the_form_with_biases_computes_what_timm_computes() -> None:
    settings = Settings(bias=True, divisor=8)
    theirs = SEModule(80, rd_ratio=1 / 16)
    ours = SqueezeExcitation(80, hidden=hidden_channels(80, settings), bias=True)
    weights = [value.flatten(1) if value.ndim > 1 else value for value in theirs.parameters()]
    ours.load_state_dict(dict(zip(ours.state_dict(), weights, strict=True)))
    x = torch.randn(3, 80, 5, 7)
    assert torch.allclose(ours(x), theirs(x), atol=1e-6)


def test_a_gate_in_a_resnet_stands_between_the_last_norm_and_the_sum() -> None:
    with torch.device("meta"):
        network = build("resnet18/se", device="meta")
    block = network.get_submodule("layer1.0")
    assert isinstance(block.se, SqueezeExcitation)
    gates = [m for m in network.modules() if isinstance(m, SqueezeExcitation)]
    assert len(gates) == 8


def test_mobilenet_v2_takes_the_reduction_of_the_paper_that_put_it_there() -> None:
    (_, settings) = resolve("mobilenetv2_100/se").methods[0]
    assert settings == Settings(reduction=8)
    assert cost("mobilenetv2_100/se").params - cost("mobilenetv2_100/conv").params == 56_928


def test_both_known_forms_have_their_known_counts() -> None:
    assert cost("resnet50/se").params == 28_071_976
    assert cost("resnet50/se(bias=true,divisor=8)").params == 28_088_024


@pytest.mark.parametrize(
    ("settings", "learned"),
    [
        ("", lambda c: 2 * c * c // 16),
        ("matrix=identity", lambda c: 0),
        ("matrix=diagonal", lambda c: c),
        ("matrix=full", lambda c: c * c),
        ("matrix=blocks", lambda c: c * c // 16),
        ("matrix=blocks,block=16", lambda c: 16 * c),
        ("matrix=blocks,block=8", lambda c: 8 * c),
    ],
)
def test_the_dissection_has_the_parameters_of_its_table(
    settings: str, learned: Callable[[int], int]
) -> None:
    text = f"resnet50/se(reduction=none,{settings})" if settings else "resnet50/se"
    widths = [site.out_channels for site in sites("resnet50") if Slot.GATE in site.slots]
    assert len(widths) == 16
    added = cost(text).params - cost("resnet50/conv").params
    assert added == sum(learned(width) for width in widths)


def test_without_a_squeeze_a_full_matrix_stands_there() -> None:
    network = build("resnet18/se(reduction=none)", device="meta")
    gates = [m for m in network.modules() if isinstance(m, MatrixExcitation)]
    assert [gate.excite.weight.shape[1] for gate in gates] == [64] * 2 + [128] * 2 + [256] * 2 + [
        512
    ] * 2
    assert str(resolve("resnet18/se(reduction=none,matrix=full)")) == "resnet18/se(reduction=none)"


def test_a_gate_that_learns_nothing_adds_nothing() -> None:
    network = build("resnet18/se(reduction=none,matrix=identity)", device="meta")
    assert sum(isinstance(m, MeanExcitation) for m in network.modules()) == 8
    assert not any("se" in name.split(".") for name, _ in network.named_parameters())


def test_a_block_sees_its_own_channels_only() -> None:
    gate = MatrixExcitation(8, blocks=4, bias=False)
    mean = torch.randn(1, 8)
    other = mean.clone()
    other[0, 2] += 1
    changed = (gate.logits(mean) != gate.logits(other))[0]
    assert changed.tolist() == [False, False, True, True, False, False, False, False]


def test_the_preset_of_mobilenet_gives_way_to_a_matrix() -> None:
    text = "mobilenetv2_100/se(reduction=none,matrix=diagonal)"
    assert str(resolve(text)) == text
    assert cost(text).params - cost("mobilenetv2_100/conv").params == 1_504


@pytest.mark.parametrize("text", ["se(reduction=0)", "se(divisor=0)", "se(reduction=1.5)"])
def test_a_setting_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"se\(\w+=[\d.]+\): Input should be"):
        resolve(f"resnet18/{text}")


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ("matrix=diagonal", "without a squeeze only; add reduction=none"),
        ("reduction=none,groups=8", "act on matrix=blocks only; add reduction=none,matrix=blocks"),
        ("reduction=none,matrix=blocks,groups=8,block=4", "both say how large"),
        ("reduction=none,divisor=8", "but reduction=none; leave it out"),
        ("reduction=none,matrix=identity,bias=true", "learns nothing, so it has no bias"),
        ("reduction=none,matrix=banded", "Input should be 'full', 'diagonal', 'blocks'"),
    ],
)
def test_settings_that_would_not_act_are_refused(settings: str, advice: str) -> None:
    with pytest.raises(SettingError, match=advice):
        resolve(f"resnet18/se({settings})")


def test_blocks_that_do_not_divide_a_layer_are_refused_with_its_name() -> None:
    with pytest.raises(SettingError, match=r"se\(groups=16\): blocks\.1\.0 has 24 channels"):
        build("mobilenetv2_100/se(reduction=none,matrix=blocks)", device="meta")
    with pytest.raises(SettingError, match=r"se\(block=48\): layer1\.0 has 64 channels"):
        build("resnet18/se(reduction=none,matrix=blocks,block=48)", device="meta")
