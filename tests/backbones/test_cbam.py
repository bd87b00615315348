from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from timm.layers.cbam import CbamModule
from torch import nn

from backbones.build import build
from backbones.cost import cost
from backbones.errors import SettingError
from backbones.methods.cbam import Settings
from backbones.methods.cbam.operator import BlockAttention, SpatialGate, hidden_channels
from backbones.resolve import resolve
from tests.backbones.small_sites import shake


def test_it_stands_between_the_last_norm_and_the_sum() -> None:
    network = build("resnet18/cbam", device="meta")
    assert isinstance(cast("Any", network.get_submodule("layer1.0")).se, BlockAttention)
    assert sum(isinstance(m, BlockAttention) for m in network.modules()) == 8
    mobile = build("mobilenetv2_100/cbam", device="meta")
    assert sum(isinstance(m, BlockAttention) for m in mobile.modules()) == 17


@pytest.mark.parametrize(
    ("text", "params", "madds"),
    [
        ("resnet18/cbam", 11_779_392, 1_815_063_764),
        ("resnet34/cbam", 21_960_468, 3_665_434_742),
        ("resnet50/cbam", 28_089_624, 4_095_573_110),
        ("resnet101/cbam", 49_330_172, 7_812_577_278),
        ("resnet18/cbam(form=timm)", 11_777_352, 1_815_063_764),
        ("resnet34/cbam(form=timm)", 21_956_456, 3_665_434_742),
        ("resnet50/cbam(form=timm)", 28_073_576, 4_095_573_110),
        ("resnet101/cbam(form=timm)", 49_295_628, 7_812_577_278),
    ],
)
def test_counts_equal_those_of_the_authors_and_of_timm(text: str, params: int, madds: int) -> None:
    counted = cost(text)
    assert (counted.params, counted.madds) == (params, madds)


@pytest.mark.parametrize("channels", [64, 160])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_timm_s_form_computes_what_timm_computes(channels: int, training: bool) -> None:
    theirs = CbamModule(channels).double().train(training)
    shake(theirs)
    ours = BlockAttention(channels, Settings(form="timm")).double().train(training)
    values = [value.clone() for value in theirs.state_dict().values()]
    own = ours.state_dict()
    ours.load_state_dict({n: v.reshape(own[n].shape) for n, v in zip(own, values, strict=True)})
    x = torch.randn(3, channels, 5, 7, dtype=torch.float64)
    for y, wanted in zip(ours(x), theirs(x), strict=True):
        torch.testing.assert_close(y, wanted, rtol=1e-12, atol=1e-12)
    found = (module.state_dict().values() for module in (ours, theirs))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one.flatten(), other.flatten(), rtol=1e-12, atol=1e-12)


def test_the_authors_form_begins_with_places_half_open() -> None:
    layer = BlockAttention(64, Settings())
    assert layer.channel is not None
    assert layer.spatial is not None
    norm = layer.spatial.norm
    assert (norm.weight.item(), norm.bias.item(), norm.momentum, norm.eps) == (0, 0, 0.01, 1e-5)
    assert not layer.channel.squeeze.bias.any()
    assert not layer.channel.excite.bias.any()
    x = torch.randn(2, 64, 5, 7)
    assert torch.allclose(layer(x), 0.5 * layer.channel(x))


def test_timm_s_form_begins_as_timm_s_networks() -> None:
    layer = BlockAttention(64, Settings(form="timm"))
    assert layer.channel is not None
    assert layer.spatial is not None
    assert layer.channel.squeeze.bias is None
    norm = layer.spatial.norm
    assert (norm.weight.item(), norm.momentum, norm.eps) == (1, 0.1, 1e-5)


def test_the_convolution_begins_as_he_has_it() -> None:
    torch.manual_seed(0)
    kernels = torch.cat([SpatialGate(Settings()).conv.weight.flatten() for _ in range(50)])
    assert float(kernels.detach().std()) == pytest.approx((2 / 49) ** 0.5, rel=0.05)


@pytest.mark.parametrize(
    ("channels", "form", "hidden"),
    [(64, "authors", 4), (24, "authors", 1), (24, "timm", 2), (8, "authors", 1), (8, "timm", 1)],
)
def test_hidden_units_are_rounded_as_the_form_has_it(channels: int, form: str, hidden: int) -> None:
    settings = Settings.model_validate({"form": form})
    assert hidden_channels(channels, settings) == hidden


def test_either_gate_can_be_left_out() -> None:
    whole, channels, places = (
        cost(f"resnet18/cbam{text}").params - cost("resnet18/conv").params
        for text in ("", "(spatial=false)", "(channel=false)")
    )
    assert places == 8 * (98 + 2)
    assert channels + places == whole
    network = build("resnet18/cbam(spatial=false)", device="meta")
    assert not any(isinstance(m, SpatialGate) for m in network.modules())


def test_one_number_in_training_is_normalised_by_the_running_statistics() -> None:
    layer = BlockAttention(6, Settings(reduction=2))
    shake(layer)
    x = torch.randn(1, 6, 1, 1)
    before = {name: value.clone() for name, value in layer.named_buffers()}
    trained = layer.train()(x)
    assert torch.allclose(trained, layer.eval()(x))
    for name, value in layer.named_buffers():
        assert torch.equal(value, before[name]), name
    nn.Sequential(layer).train()(x).sum().backward()


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ("channel=false,spatial=false", "leave no gate; leave out one of them"),
        ("kernel=4", "expected an odd number"),
        ("form=torch", "Input should be 'authors' or 'timm'"),
        ("reduction=0", "greater than or equal to 1"),
        ("kernel=33", "less than or equal to 31"),
        ("channel=false,reduction=4", "reduction acts on the first gate"),
        ("spatial=false,kernel=3", "kernel acts on the second gate"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: str, advice: str) -> None:
    with pytest.raises(SettingError, match=advice):
        resolve(f"resnet18/cbam({settings})")
