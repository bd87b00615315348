"""CondConv against its reference, and what it promises."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from timm.layers.cond_conv2d import CondConv2d as TimmCondConv2d
from torch import Tensor, nn
from torch.export import Dim, export

from backbones import per_image
from backbones.build import build
from backbones.cost import cost
from backbones.errors import SettingError
from backbones.methods.condconv import METHOD, Settings
from backbones.methods.condconv.operator import CondConv2d, CondLinear, Router, plan
from backbones.resolve import resolve
from backbones.routed_block import RoutedBlock
from backbones.selection import select
from backbones.sites import Role, Site, sites
from backbones.squeeze_excitation import SqueezeExcitation
from tests.backbones.closeness import assert_equals_reference, relative_error
from tests.backbones.reference_condconv import condconv, condlinear, routing
from tests.backbones.small_sites import CASES, shake, site


class Residual(nn.Module):
    """The smallest block: two layers and a sum."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.second(self.first(x).relu())
        return x + inner


def block_of(shape: Site, settings: Settings) -> RoutedBlock:
    """Route a block of this layer twice."""
    pair = [replace(shape, name=name) for name in ("a", "b")]
    made = plan(pair, settings)
    around = made["block"]
    assert isinstance(around, RoutedBlock)
    around.wrap(Residual(made["a"], made["b"]))
    shake(around)
    return around


def reference(x: Tensor, state: Mapping[str, Tensor], shape: Site) -> Tensor:
    weights = torch.stack([routing(row, state, prefix="router.") for row in x.mean((2, 3))])

    def layer(name: str, x: Tensor) -> Tensor:
        prefix = f"block.{name}."
        own = {key.removeprefix(prefix): value for key, value in state.items() if prefix in key}
        return condconv(x, weights, own, site=shape)

    return x + layer("second", layer("first", x).clamp_min(0))


@pytest.mark.parametrize("bias", ["shared", "experts", "none"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("images", [1, 3])
def test_a_block_shares_one_router_on_its_input(
    bias: str, layout: torch.memory_format, images: int
) -> None:
    shape = site((5, 5), padding=1, bias=True)
    around = block_of(shape, Settings.model_validate({"experts": 3, "bias": bias})).double()
    x = torch.randn(images, 5, 7, 6, dtype=torch.float64).contiguous(memory_format=layout)
    assert_equals_reference(around, x, lambda x, state: reference(x, state, shape))
    assert around(x).is_contiguous(memory_format=layout)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_a_layer_equals_its_reference(case: str, dtype: torch.dtype, *, training: bool) -> None:
    layer = plan([CASES[case]], Settings(experts=3, bias="experts"))["layer"]
    assert isinstance(layer, CondConv2d)
    weights = torch.rand(3, 3, dtype=torch.float64)

    class Weighed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.Parameter(weights)
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.layer(x, self.weights)
            return y

    shake(layer)
    x = torch.randn(3, CASES[case].in_channels, 7, 6, dtype=dtype)
    assert_equals_reference(
        Weighed().to(dtype).train(training),
        x,
        lambda x, state: condconv(
            x,
            state["weights"],
            {name.removeprefix("layer."): value for name, value in state.items()},
            site=CASES[case],
        ),
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("bias", ["shared", "experts", "none"])
@pytest.mark.parametrize("images", [1, 3])
def test_the_classifier_equals_its_reference(images: int, bias: str, dtype: torch.dtype) -> None:
    shape = site((6, 4), kernel=1, kind="linear", role=Role.CLASSIFIER, bias=True)
    settings = Settings.model_validate({"experts": 3, "bias": bias})
    layer = plan([shape], settings)["layer"].to(dtype)
    assert isinstance(layer, CondLinear)
    shake(layer)
    assert_equals_reference(layer, torch.randn(images, 6, dtype=dtype), condlinear)


@pytest.mark.parametrize("case", CASES)
def test_making_kernels_in_parts_changes_nothing(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = plan([CASES[case]], Settings(experts=4))["layer"].eval()
    x, weights = torch.randn(5, CASES[case].in_channels, 7, 6), torch.rand(5, 4)
    wanted = layer(x, weights)
    for part in (1, 2**10, 2**18):
        monkeypatch.setattr(per_image, "_PART", part)
        with torch.no_grad():
            assert relative_error(layer(x, weights), wanted) < 1e-6


@pytest.mark.parametrize(("groups", "stride"), [(1, 2), (1, 1), (12, 1)])
def test_it_computes_what_timm_computes(groups: int, stride: int) -> None:
    theirs = TimmCondConv2d(
        12, 12, 3, stride=stride, padding=1, groups=groups, bias=True, num_experts=4
    )
    shape = site((12, 12), padding=1, groups=groups, stride=stride, bias=True)
    ours = plan([shape], Settings(experts=4, bias="experts"))["layer"]
    assert isinstance(ours, CondConv2d)
    with torch.no_grad():
        ours.weight.copy_(theirs.weight.view_as(ours.weight))
        assert ours.bias is not None
        ours.bias.copy_(theirs.bias)
    x, weights = torch.randn(3, 12, 9, 9), torch.rand(3, 4)
    assert relative_error(ours(x, weights), theirs(x, weights)) < 1e-6


@pytest.mark.parametrize("case", ["3x3", "depthwise"])
def test_one_expert_with_weight_one_is_a_plain_convolution(case: str) -> None:
    shape = CASES[case]
    layer = plan([shape], Settings(experts=1))["layer"]
    assert isinstance(layer, CondConv2d)
    plain = nn.Conv2d(
        shape.in_channels, shape.out_channels, 3, padding=1, groups=shape.groups, bias=False
    )
    with torch.no_grad():
        plain.weight.copy_(layer.weight.view_as(plain.weight))
    x = torch.randn(2, shape.in_channels, 6, 5)
    assert relative_error(layer(x, torch.ones(2, 1)), plain(x)) < 1e-6


def test_a_block_exports_with_any_batch_and_size() -> None:
    around = block_of(site((5, 5), padding=1), Settings(experts=2)).eval()
    shapes = {"x": {0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO}}
    exported = export(around, (torch.randn(2, 5, 8, 8),), dynamic_shapes=shapes).module()
    x = torch.randn(3, 5, 5, 11)
    assert relative_error(exported(x), around(x)) < 1e-6


def test_softmax_routing_shares_one_between_the_experts() -> None:
    router = Router(6, Settings(routing="softmax"))
    assert torch.allclose(router(torch.randn(3, 6, 4, 4)).sum(1), torch.ones(3))
    tokens = Router(6, Settings())(torch.randn(3, 9, 6))
    assert tokens.shape == (3, 8)


@pytest.mark.parametrize(
    ("network", "first", "blocks", "classifier"),
    [
        ("resnet18", "layer3.1.conv1", 3, True),
        ("resnet50", "layer4.0.conv1", 3, True),
        ("mobilenetv2_100", "blocks.4.1.conv_pw", 6, True),
        ("efficientnet_b0", "blocks.4.0.conv_pw", 8, False),
        ("shufflenet_v2_x1_0", "stage4.1.branch2.0", 3, True),
    ],
)
def test_the_last_blocks_and_the_classifier_are_taken(
    network: str, first: str, blocks: int, classifier: bool
) -> None:
    settings = dict(resolve(f"{network}/condconv").methods)["condconv"]
    taken = select("condconv", settings, sites(network), network=network)
    assert taken[0].name == first
    assert len({site.block_name for site in taken if site.block_name}) == blocks
    assert any(site.role is Role.CLASSIFIER for site in taken) == classifier
    assert not {Role.SHORTCUT, Role.ATTENTION} & {site.role for site in taken}


def test_more_blocks_than_a_network_has_are_all_of_them() -> None:
    assert METHOD.narrow is not None
    convs = [s for s in sites("resnet18") if METHOD.takes(s, Settings())]
    assert METHOD.narrow(convs, Settings(blocks=99)) == convs
    assert [s.name for s in METHOD.narrow(convs, Settings(blocks=0))] == ["fc"]


def test_gates_and_other_methods_stand_inside_as_they_do_outside() -> None:
    network = build("mobilenetv2_050/condconv(blocks=1)+se", device="meta")
    around = network.get_submodule("blocks.6.0")
    assert isinstance(around, RoutedBlock)
    place = around.block.get_submodule("bn3")
    assert isinstance(place, nn.Sequential)
    assert isinstance(place[1], SqueezeExcitation)


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("resnet18/condconv", 81_346_120),
        ("resnet18/condconv(bias=experts)", 81_353_120),
        ("resnet50/condconv(classifier=false)", 25_557_032 + 7 * 12_845_056 + 8 * 5_123),
        ("mobilenetv2_100/condconv", 22_877_496),
        ("efficientnet_b0/condconv(experts=4)", 13_314_116),
    ],
)
def test_parameters_are_those_of_the_known_networks(text: str, params: int) -> None:
    assert cost(text).params == params


def test_multiply_adds_at_the_size_of_the_published_network() -> None:
    """B1 is evaluated at 240 pixels, where rows are compared at 224."""
    counted = cost("efficientnet_b1/condconv", image_size=240)
    assert counted.madds == pytest.approx(723.28e6, abs=5e3)


def test_initial_weights_are_those_of_timm() -> None:
    layer = plan([site((64, 96), padding=1)], Settings())["layer"]
    assert isinstance(layer, CondConv2d)
    assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / (96 * 9)), rel=0.01)
    depthwise = plan([site((96, 96), padding=1, groups=96)], Settings())["layer"]
    assert isinstance(depthwise, CondConv2d)
    assert depthwise.weight.std().item() == pytest.approx(math.sqrt(2 / 9), rel=0.03)
    router = Router(120, Settings())
    bound = 1 / math.sqrt(8 + 120)
    assert router.logits.weight.abs().max().item() == pytest.approx(bound, rel=0.02)
    assert router.logits.bias.count_nonzero() == 0


@pytest.mark.parametrize(
    ("precision", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float16, 4e-3)], ids=str
)
def test_half_precision_stays_near(precision: torch.dtype, tolerance: float) -> None:
    around = block_of(site((5, 5), padding=1, bias=True), Settings(bias="experts")).eval()
    x = torch.randn(3, 5, 6, 6)
    wanted = around(x)
    with torch.autocast("cpu", dtype=precision):
        assert relative_error(around(x), wanted) < tolerance
    assert relative_error(around.to(precision)(x.to(precision)), wanted) < 2 * tolerance


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("condconv(experts=0)", "greater than or equal to 1"),
        ("condconv(blocks=-1)", "greater than or equal to 0"),
        ("condconv(bias=static)", "'shared', 'experts' or 'none'"),
    ],
)
def test_bad_settings_are_refused_with_what_would_do(text: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        resolve(f"resnet18/{text}")
