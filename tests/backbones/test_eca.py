from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from timm.layers.eca import EcaModule
from torch import Tensor

from backbones.build import build
from backbones.cost import cost
from backbones.errors import SettingError
from backbones.methods.eca import Settings, kernel_size
from backbones.methods.eca.operator import EfficientChannelAttention
from backbones.resolve import resolve
from tests.backbones.closeness import assert_equals_reference
from tests.backbones.reference_eca import PAPER_TAPS, efficient_channel_attention


def reference(x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
    return efficient_channel_attention(x, taps=state["conv.weight"].flatten())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("taps", [1, 3, 7])
@pytest.mark.parametrize("shape", [(2, 12, 5, 7), (1, 5, 1, 1)], ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_the_gate_equals_its_reference(
    dtype: torch.dtype, taps: int, shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    gate = EfficientChannelAttention(taps).to(dtype)
    x = torch.randn(shape, dtype=dtype).contiguous(memory_format=layout)
    assert_equals_reference(gate, x, reference)


def test_the_rule_computes_what_timm_computes() -> None:
    theirs = EcaModule(320)
    ours = EfficientChannelAttention(kernel_size(320, stage=0, settings=Settings()))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 320, 5, 7)
    assert torch.allclose(ours(x), theirs(x), atol=1e-6)


def test_the_layout_of_the_map_is_kept() -> None:
    x = torch.randn(2, 8, 5, 7).contiguous(memory_format=torch.channels_last)
    assert EfficientChannelAttention(3)(x).is_contiguous(memory_format=torch.channels_last)


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
        ("mobilenetv2_100/eca", 3_504_903, 300_777_952),
    ],
)
def test_counts_equal_those_of_the_released_networks(text: str, params: int, madds: int) -> None:
    counted = cost(text)
    assert (counted.params, counted.madds) == (params, madds)


@pytest.mark.parametrize("kernels", ["adaptive", "3557x", "4", "3456", "0", "true", "35.5", "-3"])
def test_kernels_that_mean_nothing_are_refused_with_what_would_do(kernels: str) -> None:
    with pytest.raises(SettingError, match=r"eca\(kernels=.*expected rule, by_width, one odd"):
        resolve(f"resnet18/eca(kernels={kernels})")


def test_as_many_digits_as_stages_are_asked_for() -> None:
    with pytest.raises(SettingError, match="3 digits for a network of 4 stages; write 4 digits"):
        build("resnet18/eca(kernels=335)", device="meta")


def test_settings_of_the_rule_are_refused_without_the_rule() -> None:
    with pytest.raises(SettingError, match="but kernels=3577; add kernels=rule"):
        resolve("resnet18/eca(gamma=4)")
    assert str(resolve("resnet18/eca(kernels=rule,gamma=4)")).endswith("gamma=4)")
