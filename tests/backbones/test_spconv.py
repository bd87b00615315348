from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, export
from torch.nn import functional

from backbones import weights
from backbones.build import build
from backbones.cost import cost
from backbones.errors import SettingError, UnsupportedNetworkError
from backbones.methods.spconv import Settings, inference, representative_channels
from backbones.methods.spconv.operator import SplitConv
from backbones.resolve import resolve
from backbones.sites import Role, Site, sites
from tests.backbones import reference_spconv
from tests.backbones.closeness import TOLERANCE, errors, relative_error, wanted_of
from tests.backbones.released_lists import named
from tests.backbones.small_sites import shake, site

CASES: Mapping[str, tuple[Site, Settings]] = {
    "3x3": (site((8, 6), padding=1), Settings()),
    "strided": (site((8, 6), padding=1, stride=2), Settings()),
    "a quarter": (site((8, 4), padding=1, stride=2), Settings(alpha=0.25)),
    "stride 3": (site((7, 4), padding=1, stride=3), Settings(alpha=0.7)),
    "5x5, dilated": (site((6, 4), kernel=5, padding=4, dilation=2), Settings()),
    "1x3": (replace(site((6, 4)), kernel_size=(1, 3), padding=(0, 1), stride=(1, 2)), Settings()),
    "bias": (site((8, 6), padding=1, bias=True), Settings()),
    "one group": (site((5, 3), padding=1), Settings(groups=1)),
    "four groups": (site((8, 8), padding=1, stride=2), Settings(groups=4)),
    "no point-wise": (site((8, 6), padding=1, stride=2), Settings(pointwise=False)),
    "plain sum": (site((8, 6), padding=1, stride=2), Settings(fusion="sum")),
}
every = pytest.mark.parametrize(("place", "settings"), CASES.values(), ids=CASES)


def shaken(place: Site, settings: Settings) -> SplitConv:
    """Give norms statistics and shifts that matter, so that no two weights of the sum are alike."""
    layer = SplitConv(place, settings)
    shake(layer)
    return layer


@dataclass(frozen=True)
class Reference:
    """The reference for a layer in its mode."""

    place: Site
    settings: Settings
    training: bool

    def __call__(self, x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        return reference_spconv.split_convolution(
            x,
            state,
            site=self.place,
            representative=state["group_wise.weight"].shape[1] * self.settings.groups,
            groups=self.settings.groups,
            soft=self.settings.fusion == "soft",
            training=self.training,
        )


# --- numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("count", [1, 3])
@every
def test_in_double_precision_it_is_the_reference(
    place: Site, settings: Settings, count: int, training: bool
) -> None:
    layer = shaken(place, settings).double().train(training)
    for size in ((7, 6), (6, 9)):
        x = torch.randn(count, place.in_channels, *size, dtype=torch.float64)
        for layout in (torch.contiguous_format, torch.channels_last):
            layer.zero_grad()
            found = errors_of(layer, x.contiguous(memory_format=layout), place, settings)
            assert max(found.values()) < TOLERANCE[torch.float64], found


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@every
def test_in_single_precision_it_stays_within_its_tolerance(
    place: Site, settings: Settings, training: bool
) -> None:
    layer = shaken(place, settings).train(training)
    found = errors_of(layer, torch.randn(4, place.in_channels, 12, 11), place, settings)
    assert max(found.values()) < TOLERANCE[torch.float32], found


def errors_of(layer: SplitConv, x: Tensor, place: Site, settings: Settings) -> dict[str, float]:
    """Relative errors of output and gradients; a shift that a norm takes away must have none."""
    wanted = wanted_of(layer, x, Reference(place, settings, layer.training))
    found = errors(layer, x, wanted)
    if layer.training:
        del found["gradient of redundant_conv.bias"]
        bias, weight = layer.redundant_conv.bias, layer.redundant_conv.weight
        assert bias is not None
        assert bias.grad is not None
        assert weight.grad is not None
        assert bias.grad.norm() < 100 * torch.finfo(x.dtype).eps * weight.grad.norm()
    return found


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("part", [1, 2 * 6 * 12 * 12, 2**18], ids=["one image", "two", "all"])
@every
def test_without_gradients_it_gives_the_same_in_parts_of_any_size(
    place: Site,
    settings: Settings,
    part: int,
    layout: torch.memory_format,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inference, "_PART", part)
    layer = shaken(place, settings).eval()
    x = torch.randn(5, place.in_channels, 11, 12).contiguous(memory_format=layout)
    wanted = layer(x)
    before = x.clone()
    with torch.no_grad():
        found = layer(x)
    assert relative_error(found, wanted) < 1e-6
    assert found.is_contiguous(memory_format=layout)
    assert torch.equal(x, before)


@pytest.mark.parametrize("size", [(7, 6), (1, 1)], ids=["merged", "apart"])
def test_a_map_that_lies_otherwise_in_memory_gives_the_same(size: tuple[int, int]) -> None:
    layer = shaken(*CASES["3x3"]).eval()
    x = torch.randn(3, 8, *size)
    with torch.inference_mode():
        wanted = layer(x)
        apart = torch.stack((x, x), dim=4)[..., 0]
        turned = x.transpose(2, 3).contiguous().transpose(2, 3)
        repeated = x[:1].expand(3, -1, -1, -1)
        assert relative_error(layer(apart), wanted) < 1e-6
        assert relative_error(layer(turned), wanted) < 1e-6
        assert relative_error(layer(repeated), wanted[:1].expand_as(wanted)) < 1e-6
        assert layer(x[:0]).shape == (0, 6, *size)


@pytest.mark.parametrize("how", ["whole", "autocast"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_half_precision_stays_within_its_tolerance(
    training: bool, dtype: torch.dtype, how: str
) -> None:
    place, settings = CASES["strided"]
    layer = shaken(place, settings).train(training)
    x = torch.randn(4, place.in_channels, 9, 9)
    if how == "whole":
        layer, x = layer.to(dtype), x.to(dtype)
    wanted = wanted_of(layer, x, Reference(place, settings, training))
    with torch.autocast("cpu", dtype, enabled=how == "autocast"):
        y = layer(x)
        with torch.no_grad():
            quiet = layer(x)
    torch.autograd.backward((y.double() * wanted.direction).sum())
    assert y.dtype is quiet.dtype is dtype
    assert relative_error(y, wanted.output) < TOLERANCE[dtype]
    assert relative_error(quiet, wanted.output) < TOLERANCE[dtype]
    gradients = [value.grad for value in layer.parameters()]
    assert all(g is not None and bool(g.isfinite().all()) for g in gradients)


# --- forms -----------------------------------------------------------------------------------


def test_exported_it_takes_any_batch_and_size() -> None:
    layer = shaken(*CASES["strided"]).eval()
    shapes = ({0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO},)
    with torch.no_grad():
        program = export(layer, (torch.randn(2, 8, 9, 8),), dynamic_shapes=shapes).module()
        for size in ((1, 8, 7, 6), (5, 8, 8, 11)):
            x = torch.randn(size)
            assert relative_error(program(x), layer(x)) < 1e-6


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_compiled_it_gives_and_learns_the_same(training: bool) -> None:
    torch.compiler.reset()
    layer = shaken(*CASES["strided"]).train(training)
    other_layer = copy.deepcopy(layer)
    compiled = torch.compile(other_layer, backend="aot_eager", fullgraph=True)
    x = torch.randn(3, 8, 9, 7)
    for each in (layer, compiled):
        torch.autograd.backward(each(x).square().sum())
    pairs = zip(layer.named_parameters(), other_layer.parameters(), strict=True)
    for (name, value), other in pairs:
        assert value.grad is not None
        assert other.grad is not None
        if not (training and name == "redundant_conv.bias"):
            assert relative_error(other.grad, value.grad) < 1e-4, name


def test_a_copy_over_meta_comes_back() -> None:
    layer = shaken(*CASES["strided"]).eval()
    x = torch.randn(2, 8, 7, 7)
    on_meta = copy.deepcopy(layer).to("meta")
    assert on_meta(x.to("meta")).shape == layer(x).shape
    other = on_meta.to_empty(device="cpu")
    other.reset_parameters()
    other.load_state_dict(layer.state_dict())
    with torch.no_grad():
        assert torch.equal(other(x), layer(x))


# --- what it is ------------------------------------------------------------------------------


def test_the_weights_are_a_softmax_of_the_means_after_the_norms() -> None:
    layer = shaken(*CASES["3x3"]).eval()
    maps: dict[str, Tensor] = {}
    for name in ("representative_norm", "redundant_norm"):
        layer.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: maps.update({name: out})
        )
    y = layer(torch.randn(2, 8, 6, 6))
    stacked = torch.stack(list(maps.values()))
    weights = functional.softmax(stacked.mean((3, 4), keepdim=True), dim=0)
    assert relative_error(y, (weights * stacked).sum(0)) < 1e-6


def test_the_first_channels_are_the_representative_ones() -> None:
    layer = shaken(*CASES["a quarter"]).eval()
    x = torch.randn(1, 8, 8, 8)
    nn.init.zeros_(layer.redundant_conv.weight)
    y = layer(x)
    x[:, 2:] += 1
    assert torch.equal(layer(x), y)
    x[:, 1] += 1
    assert not torch.equal(layer(x), y)


def test_it_begins_as_the_release_does() -> None:
    layer = SplitConv(site((64, 128), padding=1), Settings())
    for conv, fan_out in ((layer.group_wise, 128 * 9), (layer.redundant_conv, 128)):
        assert float(conv.weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
    assert layer.point_wise is not None
    assert float(layer.point_wise.weight.detach().std()) == pytest.approx((2 / 128) ** 0.5, rel=0.1)
    bias = layer.redundant_conv.bias
    assert bias is not None
    assert 0 < float(bias.detach().abs().max()) <= 32**-0.5


@pytest.mark.parametrize(
    ("channels", "alpha", "groups", "wanted"),
    [
        (64, 0.5, 2, 32),
        (64, 0.0625, 2, 4),
        (100, 0.29, 1, 29),
        (18, 0.5, 2, 8),
        (40, 0.25, 4, 8),
        (64, "0.5-0.25", 2, 16),
    ],
)
def test_representative_channels_fill_whole_groups(
    channels: int, alpha: float | str, groups: int, wanted: int
) -> None:
    place = replace(site((channels, 8), padding=1), stage=1)
    assert representative_channels(place, Settings(alpha=alpha, groups=groups)) == wanted


def test_a_released_checkpoint_computes_what_its_formula_says() -> None:
    backbone, path = "resnet18/spconv", "layer2.0.conv1"
    given = named(backbone).drawn()
    network = build(backbone).eval()
    saved = {f"module.{name}": value for name, value in given.items()}
    weights.load(network, saved, backbone=backbone)
    names = {
        "gwc.weight": "group_wise.weight",
        "pwc.weight": "point_wise.weight",
        "conv1x1.weight": "redundant_conv.weight",
        "conv1x1.bias": "redundant_conv.bias",
    }
    for theirs, ours in (("bn1", "representative_norm"), ("bn2", "redundant_norm")):
        for part in ("weight", "bias", "running_mean", "running_var"):
            names[f"{theirs}.{part}"] = f"{ours}.{part}"
    state = {ours: given[f"{path}.{theirs}"].double() for theirs, ours in names.items()}
    place = site((64, 128), padding=1, stride=2)
    x = torch.randn(1, 64, 6, 8)
    wanted = Reference(place, Settings(), training=False)(x.double(), state)
    with torch.no_grad():
        assert relative_error(network.get_submodule(path)(x), wanted) < TOLERANCE[torch.float32]


# --- where it goes ---------------------------------------------------------------------------


@cache
def taken(text: str) -> list[str]:
    network = build(text, device="meta")
    return [name for name, m in network.named_modules() if isinstance(m, SplitConv)]


@pytest.mark.parametrize(
    ("network", "count"),
    [("resnet18", 16), ("resnet34", 32), ("resnet50", 16), ("resnet101", 33), ("resnet152", 50)],
)
def test_every_3x3_convolution_of_a_resnet_s_blocks_changes(network: str, count: int) -> None:
    found = taken(f"{network}/spconv")
    assert len(found) == count
    wanted = {s.name for s in sites(network) if s.kernel_size == (3, 3) and s.block_name}
    assert set(found) == wanted


@pytest.mark.parametrize(
    ("network", "count"),
    [("vgg16_bn", 12), ("densenet121", 58), ("efficientnetv2_s", 10)],
)
def test_other_networks_follow_the_general_rule(network: str, count: int) -> None:
    assert len(taken(f"{network}/spconv")) == count


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("alpha", [1 / 2, 1 / 4, 1 / 8, 1 / 16])
def test_a_layer_has_the_counts_of_the_formula(alpha: float, stride: int) -> None:
    inputs, outputs = 64, 128
    layer = SplitConv(site((inputs, outputs), padding=1, stride=stride), Settings(alpha=alpha))
    weights = inputs * outputs * (9 * alpha / 2 + 1)
    assert sum(value.numel() for value in layer.parameters()) == weights + 5 * outputs


def test_each_stage_can_have_an_alpha_of_its_own() -> None:
    network = build("resnet18/spconv(alpha=0.5-0.25-0.125-0.0625)", device="meta")
    shares = {
        name.partition(".")[0]: layer.representative / (layer.representative + layer.redundant)
        for name, layer in network.named_modules()
        if isinstance(layer, SplitConv)
    }
    assert list(shares.values()) == [0.5, 0.25, 0.125, 0.0625]
    same = cost("resnet18/spconv(alpha=0.5-0.5-0.5-0.5)")
    assert (same.params, same.madds) == (4_690_216, 743_116_800)
    assert str(resolve("resnet18/spconv(alpha=0.50-.25-0.5-.5)")) == (
        "resnet18/spconv(alpha=0.5-0.25-0.5-0.5)"
    )


def test_ablations_cost_what_they_leave_out() -> None:
    whole, bare, dense = (
        cost(f"resnet18/spconv({text})").madds
        for text in ("fusion=sum", "pointwise=false", "groups=1")
    )
    assert whole == 743_116_800
    layers = [s for s in sites("resnet18") if s.role is Role.SPATIAL]
    area = [math.prod(s.out_size) * s.in_channels * s.out_channels // 2 for s in layers]
    assert whole - bare == sum(area)
    assert dense - whole == 9 * sum(area) // 2


def test_the_counts_of_cifar_are_those_of_the_table() -> None:
    counted = [
        cost(f"resnet20_cifar/spconv(alpha={alpha})", classes=10, image_size=32)
        for alpha in (0.5, 0.25, 0.125)
    ]
    assert [c.params for c in counted] == [105_082, 71_674, 54_970]
    assert [c.madds for c in counted] == [15_188_608, 10_175_104, 7_668_352]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("0.5-0.5-0.5-0.5", "resnet18/spconv"),
        ("0.25-0.25-0.25-0.25", "resnet18/spconv(alpha=0.25)"),
        ("0.9999999-0.5-0.5-0.5", "resnet18/spconv(alpha=0.9999999-0.5-0.5-0.5)"),
        ("0.12345678-1e-1-0.5-0.5", None),
        ("0.12345678-0.10-.5-0.5", "resnet18/spconv(alpha=0.12345678-0.1-0.5-0.5)"),
    ],
)
def test_one_setting_has_one_text_which_reads_back(given: str, kept: str | None) -> None:
    if kept is None:  # a dash in a number ends it
        with pytest.raises(SettingError, match="expected a number between 0 and 1"):
            resolve(f"resnet18/spconv(alpha={given})")
        return
    assert str(resolve(f"resnet18/spconv(alpha={given})")) == kept
    assert str(resolve(kept)) == kept


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alpha=0", "expected a number between 0 and 1, or one for each stage"),
        ("alpha=1", "expected a number between 0 and 1"),
        ("alpha=true", "expected a number between 0 and 1"),
        ("alpha=half", "expected a number between 0 and 1"),
        ("alpha=0.5-1.5-0.5-0.5", "expected a number between 0 and 1"),
        ("alpha=0.5-", "expected a number between 0 and 1"),
        ("groups=0", "greater than or equal to 1"),
        ("fusion=max", "'soft' or 'sum'"),
    ],
)
def test_a_setting_out_of_range_is_refused(text: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        resolve(f"resnet18/spconv({text})")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resnet20_cifar/spconv(alpha=0.0625)", r"layer1.0.conv1 has 16 inputs.*at least 0.125"),
        ("resnet18/spconv(groups=3)", r"layer1.0.conv1 has 64 outputs.*divides them"),
        ("resnet18/spconv(alpha=0.5-0.25)", "2 numbers for a network of 4 stages; write 4"),
        ("resnet18/spconv(alpha=0.0000001)", "too few are representative"),
    ],
)
def test_settings_that_a_network_cannot_serve_name_the_layer(text: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        build(text, device="meta")


@pytest.mark.parametrize("network", ["mobilenetv2_100", "convnext_tiny", "resnext50_32x4d"])
def test_a_network_without_dense_3x3_convolutions_is_refused(network: str) -> None:
    with pytest.raises(UnsupportedNetworkError, match="nothing to replace"):
        build(f"{network}/spconv", device="meta")
