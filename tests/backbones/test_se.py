from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from timm.layers.squeeze_excite import SEModule
from torch import Tensor

from backbones.build import build
from backbones.cost import cost
from backbones.errors import SettingError
from backbones.methods.se import Settings
from backbones.methods.se.operator import SqueezeExcitation, hidden_channels
from backbones.resolve import resolve
from tests.backbones.closeness import assert_equals_reference
from tests.backbones.reference_se import squeeze_excitation


def reference(x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
    return squeeze_excitation(
        x,
        w1=state["squeeze.weight"],
        w2=state["excite.weight"],
        b1=state.get("squeeze.bias"),
        b2=state.get("excite.bias"),
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(2, 12, 5, 7), (1, 8, 1, 1)], ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_the_gate_equals_its_reference(
    dtype: torch.dtype, bias: bool, shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    gate = SqueezeExcitation(shape[1], hidden=4, bias=bias).to(dtype)
    x = torch.randn(shape, dtype=dtype).contiguous(memory_format=layout)
    assert_equals_reference(gate, x, reference)


def test_the_layout_of_the_map_is_kept() -> None:
    x = torch.randn(2, 8, 5, 7).contiguous(memory_format=torch.channels_last)
    gate = SqueezeExcitation(8, hidden=2, bias=False)
    assert gate(x).is_contiguous(memory_format=torch.channels_last)


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


@pytest.mark.parametrize("text", ["se(reduction=0)", "se(divisor=0)", "se(reduction=1.5)"])
def test_a_setting_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"se\(\w+=[\d.]+\): Input should be"):
        resolve(f"resnet18/{text}")
