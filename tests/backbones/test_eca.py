from __future__ import annotations

import pytest
import torch
from timm.layers.eca import EcaModule

from backbones.build import build
from backbones.cost import cost
from backbones.errors import SettingError
from backbones.gate import ProductGate
from backbones.methods.eca import Settings, kernel_size
from backbones.methods.eca.operator import (
    EfficientChannelAttention,
    UnsharedChannelAttention,
)
from backbones.resolve import resolve
from tests.backbones.reference_eca import PAPER_TAPS


def test_the_rule_computes_what_timm_computes() -> None:
    theirs = EcaModule(320)
    ours = EfficientChannelAttention(320, kernel_size(320, stage=0, settings=Settings()))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 320, 5, 7)
    assert torch.allclose(ours(x), theirs(x), atol=1e-6)


@pytest.mark.parametrize(("channels", "taps"), [*PAPER_TAPS.items(), (2048, 7)])
def test_the_rule_gives_the_kernels_of_the_paper(channels: int, taps: int) -> None:
    assert kernel_size(channels, stage=0, settings=Settings()) == taps


def test_the_rule_follows_its_two_settings() -> None:
    assert kernel_size(256, stage=0, settings=Settings(gamma=1)) == 9
    assert kernel_size(256, stage=0, settings=Settings(b=-4)) == 3


def test_digits_are_kernels_by_stage() -> None:
    found = [kernel_size(64, stage=stage, settings=Settings(kernels=3579)) for stage in range(4)]
    assert found == [3, 5, 7, 9]
    assert kernel_size(64, stage=3, settings=Settings(kernels=5)) == 5


def test_the_released_mobilenet_looks_at_one_channel_where_it_is_narrow() -> None:
    settings = Settings(kernels="by_width")
    assert [kernel_size(c, stage=0, settings=settings) for c in (16, 95, 96, 320)] == [1, 1, 3, 3]


@pytest.mark.parametrize(
    ("text", "taps"),
    [
        ("resnet18/eca", [3, 3, 5, 5, 7, 7, 7, 7]),
        ("resnet18/eca(kernels=rule)", [3, 3, 5, 5, 5, 5, 5, 5]),
        ("resnet18/eca(kernels=3)", [3] * 8),
        ("resnet18d/eca", [3, 3, 5, 5, 5, 5, 5, 5]),
    ],
)
def test_each_gate_has_its_kernel(text: str, taps: list[int]) -> None:
    network = build(text, device="meta")
    gates = [m for m in network.modules() if isinstance(m, EfficientChannelAttention)]
    assert [gate.conv.kernel_size[0] for gate in gates] == taps


@pytest.mark.parametrize(
    ("text", "params", "madds"),
    [
        ("resnet18/eca", 11_689_556, 1_814_085_760),
        ("resnet34/eca", 21_797_744, 3_663_781_952),
        ("resnet50/eca", 25_557_112, 4_089_270_528),
        ("resnet50/eca(kernels=3)", 25_557_080, 4_089_229_568),
        ("resnet101/eca", 44_549_317, 7_801_574_656),
        ("resnet152/eca", 60_193_042, 11_513_868_544),
        ("mobilenetv2_100/eca", 3_504_903, 300_777_952),
    ],
)
def test_counts_equal_those_of_the_released_networks(text: str, params: int, madds: int) -> None:
    counted = cost(text)
    assert (counted.params, counted.madds) == (params, madds)


@pytest.mark.parametrize(("kernels", "added"), [(3, 45_312), (3557, 85_888 + 384)])
def test_taps_of_its_own_for_each_channel_are_k_times_c(kernels: int, added: int) -> None:
    counted = cost(f"resnet50/eca(kernels={kernels},shared=false)")
    assert counted.params - cost("resnet50/conv").params == added
    assert counted.madds == cost(f"resnet50/eca(kernels={kernels})").madds


def test_taps_that_are_alike_for_all_channels_are_those_that_they_share() -> None:
    shared, own = EfficientChannelAttention(10, 5), UnsharedChannelAttention(10, 5)
    with torch.no_grad():
        own.conv.weight.copy_(shared.conv.weight.expand_as(own.conv.weight))
    x = torch.randn(2, 10, 3, 4)
    assert torch.allclose(own(x), shared(x), atol=1e-6)


@pytest.mark.parametrize(("channels", "is_product"), [(512, True), (513, False)])
def test_fused_it_is_one_product_unless_that_is_large(channels: int, is_product: bool) -> None:
    for gate in (EfficientChannelAttention(channels, 5), UnsharedChannelAttention(channels, 5)):
        fused = gate.fused()
        assert any(isinstance(m, ProductGate) for m in fused.modules()) is is_product
        x = torch.randn(2, channels, 3, 3)
        with torch.no_grad():
            wanted = gate(x)
            assert torch.allclose(fused(x), wanted, atol=1e-6)


@pytest.mark.parametrize("kernels", ["adaptive", "3557x", "4", "3456", "0", "true", "35.5", "-3"])
def test_kernels_that_mean_nothing_are_refused_with_what_would_do(kernels: str) -> None:
    with pytest.raises(SettingError, match=r"eca\(kernels=.*expected rule, by_width, one odd"):
        resolve(f"resnet18/eca(kernels={kernels})")


def test_as_many_digits_as_stages_are_asked_for() -> None:
    with pytest.raises(SettingError, match="3 digits for a network of 4 stages; write 4 digits"):
        build("resnet18/eca(kernels=335)", device="meta")


@pytest.mark.parametrize("setting", ["b=1e300", "gamma=1e-300", "gamma=0.01", "b=-101"])
def test_numbers_of_the_rule_that_give_no_kernel_are_refused(setting: str) -> None:
    with pytest.raises(SettingError, match="Input should be"):
        resolve(f"resnet26/eca({setting})")


def test_one_kernel_for_all_stages_has_one_text() -> None:
    assert str(resolve("resnet50/eca(kernels=3333)")) == "resnet50/eca(kernels=3)"


def test_settings_of_the_rule_are_refused_without_the_rule() -> None:
    with pytest.raises(SettingError, match="but kernels=3577; add kernels=rule"):
        resolve("resnet18/eca(gamma=4)")
    assert str(resolve("resnet18/eca(kernels=rule,gamma=4)")).endswith("gamma=4)")
