"""ODConv against its reference, and what it promises."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.export import Dim, export
from torch.nn import functional

from backbones import per_image
from backbones.build import anneal, build
from backbones.cost import cost
from backbones.errors import SettingError, UnsupportedNetworkError
from backbones.methods.odconv import Settings, takes
from backbones.methods.odconv.attention import Attention
from backbones.methods.odconv.operator import ODConv2d, plan
from backbones.resolve import resolve
from backbones.sites import sites
from tests.backbones.closeness import assert_equals_reference, relative_error
from tests.backbones.reference_odconv import Layer, odconv
from tests.backbones.small_sites import CASES, shake, site

SMALL = "resnet18(stem=small)/odconv"


def layer_of(case: str, settings: Settings) -> ODConv2d:
    module = plan([CASES[case]], settings)["layer"]
    assert isinstance(module, ODConv2d)
    shake(module)
    return module


def compare(module: ODConv2d, x: torch.Tensor, *, temperature: float = 3.0) -> None:
    module.temperature = temperature
    layer = Layer(module.site, module.weight.shape[0], temperature, module.training)
    assert_equals_reference(module, x, lambda x, state: odconv(x, state, layer))


@pytest.mark.parametrize("kernels", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_a_layer_equals_its_reference(case: str, kernels: int) -> None:
    module = layer_of(case, Settings(kernels=kernels)).double()
    compare(module, torch.randn(3, module.site.in_channels, 7, 6, dtype=torch.float64))


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("case", ["3x3", "1x1", "depthwise", "groups"])
def test_batch_mode_and_layout_change_nothing(
    case: str, images: int, layout: torch.memory_format, *, training: bool
) -> None:
    module = layer_of(case, Settings(kernels=2)).train(training)
    x = torch.randn(images, module.site.in_channels, 5, 7).contiguous(memory_format=layout)
    compare(module, x)
    assert module(x).is_contiguous(memory_format=layout)


@pytest.mark.parametrize("on", ["channel", "filter", "spatial"])
@pytest.mark.parametrize("case", ["3x3", "1x1", "groups", "depthwise"])
def test_each_attention_stands_alone(case: str, on: str) -> None:
    names = ("channel", "filter", "spatial")
    settings = Settings(kernels=2, **{name: name == on for name in names})
    module = layer_of(case, settings).double()
    heads = {name for name, _ in module.attention.named_children()} & set(names)
    assert heads <= {on}
    compare(module, torch.randn(3, module.site.in_channels, 5, 4, dtype=torch.float64))


@pytest.mark.parametrize("kernels", [1, 4])
@pytest.mark.parametrize("case", CASES)
def test_making_kernels_in_parts_changes_nothing(
    case: str, kernels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = layer_of(case, Settings(kernels=kernels)).eval()
    x = torch.randn(5, module.site.in_channels, 7, 6)
    wanted = module(x)
    for part in (1, 2**10, 2**18):
        monkeypatch.setattr(per_image, "_PART", part)
        with torch.no_grad():
            assert relative_error(module(x), wanted) < 1e-6


@pytest.mark.parametrize("case", ["3x3", "1x1", "depthwise", "groups"])
def test_scaling_kernels_or_maps_is_the_same(case: str) -> None:
    layers = []
    for side in (1, 40):
        size = (side, side)
        module = plan([replace(CASES[case], in_size=size, out_size=size)], Settings(kernels=2))
        layers.append(module["layer"].eval())
    few, many = layers
    assert isinstance(few, ODConv2d)
    assert isinstance(many, ODConv2d)
    assert many.filter_on_kernel
    assert not few.filter_on_kernel
    assert many.channel_on_kernel
    assert few.channel_on_kernel == (few.site.kernel_size != (1, 1))
    shake(few)
    many.load_state_dict(few.state_dict())
    x = torch.randn(2, few.site.in_channels, 9, 9)
    assert relative_error(few(x), many(x)) < 1e-6


@pytest.mark.parametrize("case", CASES)
def test_with_constant_attentions_and_one_kernel_it_is_a_plain_convolution(case: str) -> None:
    module = layer_of(case, Settings()).eval()
    place, heads = module.site, module.attention
    for head in (heads.channel, heads.filter, heads.spatial):
        if head is not None:  # 1x1 and depthwise layers have one less
            nn.init.zeros_(head.weight)
            nn.init.constant_(head.bias, 50.0)  # a sigmoid of 1
    x = torch.randn(2, place.in_channels, 7, 6)
    kernel = module.weight.view(place.out_channels, -1, *place.kernel_size)
    where = (place.stride, place.padding, place.dilation, place.groups)
    wanted = functional.conv2d(x, kernel, module.bias, *where)
    assert relative_error(module(x), wanted) < 1e-6
    with torch.no_grad():
        assert relative_error(module(x), wanted) < 1e-6


def test_where_no_kernel_depends_on_the_image_an_ordinary_convolution_runs() -> None:
    """A 1x1 layer with one kernel scales its maps only."""
    module = layer_of("1x1", Settings())
    assert not module.is_dynamic
    assert layer_of("3x3", Settings(spatial=False)).is_dynamic is False
    assert layer_of("1x1", Settings(kernels=2)).is_dynamic


def test_a_batch_of_one_trains_with_the_running_statistics() -> None:
    module = layer_of("3x3", Settings(kernels=2)).train()
    before = copy.deepcopy(module.attention.norm.state_dict())
    x = torch.randn(1, 5, 6, 6)
    y = module(x)
    for name, value in module.attention.norm.state_dict().items():
        assert torch.equal(value, before[name])
    assert relative_error(y, module.eval()(x)) < 1e-6


def test_the_temperature_falls_linearly_over_its_epochs_and_divides_all_attentions() -> None:
    network = build(SMALL, device="meta")
    layers = [module for module in network.modules() if isinstance(module, ODConv2d)]
    assert {layer.temperature for layer in layers} == {1.0}
    for step, wanted in ((0, 1 + 29 * 0.99), (49, 15.5), (99, 1.0), (10_000, 1.0)):
        anneal(network, step=step, steps_per_epoch=10)
        assert [layer.temperature for layer in layers] == pytest.approx([wanted] * len(layers))
    attention = Attention(CASES["3x3"], Settings(kernels=4)).eval()
    for gate in attention(torch.randn(2, 5), temperature=1e9):
        assert gate.std() < 1e-6
    cold = layer_of("3x3", Settings(temperature_epochs=0))
    anneal(cold, step=0, steps_per_epoch=10)
    assert cold.temperature == 1


def test_initial_weights_are_those_of_the_release() -> None:
    module = plan([site((64, 96), padding=1)], Settings(kernels=2))["layer"]
    assert isinstance(module, ODConv2d)
    assert module.weight.std().item() == pytest.approx(math.sqrt(2 / (96 * 9)), rel=0.02)
    head = module.attention.filter
    assert head is not None
    assert head.weight.std().item() == pytest.approx(math.sqrt(2 / 96), rel=0.1)
    assert head.bias.count_nonzero() == 0
    depthwise = plan([site((96, 96), padding=1, groups=96)], Settings(kernels=4))["layer"]
    assert isinstance(depthwise, ODConv2d)
    assert depthwise.weight.std().item() == pytest.approx(math.sqrt(2 / (96 * 9)), rel=0.05)


@pytest.mark.parametrize(
    ("precision", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float16, 4e-3)], ids=str
)
def test_half_precision_stays_near(precision: torch.dtype, tolerance: float) -> None:
    module = layer_of("3x3", Settings(kernels=4)).eval()
    x = torch.randn(3, 5, 6, 6)
    wanted = module(x)
    with torch.autocast("cpu", dtype=precision):
        assert relative_error(module(x), wanted) < tolerance
    assert relative_error(module.to(precision)(x.to(precision)), wanted) < 2 * tolerance


@pytest.mark.parametrize("case", ["3x3", "depthwise"])
def test_a_layer_exports_with_any_batch_and_size(case: str) -> None:
    module = layer_of(case, Settings(kernels=2)).eval()
    channels = module.site.in_channels
    shapes = {"x": {0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO}}
    exported = export(module, (torch.randn(2, channels, 8, 8),), dynamic_shapes=shapes).module()
    x = torch.randn(3, channels, 5, 11)
    assert relative_error(exported(x), module(x)) < 1e-6


@pytest.mark.parametrize(
    ("network", "static"),
    [
        ("resnet18", {"conv1", "fc", "layer2.0.downsample.0"}),
        ("mobilenetv2_100", {"conv_stem", "classifier"}),
        ("efficientnet_b0", {"conv_stem", "classifier", "blocks.0.0.se.conv_reduce"}),
    ],
)
def test_stem_shortcuts_attentions_and_classifier_stay(network: str, static: set[str]) -> None:
    found = sites(network)
    taken = {site.name for site in found if takes(site, Settings())}
    assert not taken & static
    left = {site.name for site in found if site.kind == "conv2d"} - taken
    assert {name.split(".")[0] for name in left} <= {"conv1", "conv_stem", "layer2", "layer3"} | {
        "layer4",
        "blocks",
    }
    assert all("downsample" in name or ".se." in name for name in left if "." in name)


def test_multiply_adds_without_the_mixing_are_those_of_one_kernel() -> None:
    one, four = cost("resnet18/odconv"), cost("resnet18/odconv(kernels=4)")
    assert one.madds_assembly == 0
    kernels = sum(
        site.out_channels * site.in_channels * math.prod(site.kernel_size)
        for site in sites("resnet18")
        if site.kind == "conv2d" and takes(site, Settings())
    )
    assert four.madds_assembly == 4 * kernels
    # the head over kernels is all that is added: 16 layers of 4 outputs
    hidden = 4 * 16 + 1 * 16 + 3 * 16 + 1 * 16 + 3 * 16 + 1 * 16 + 3 * 32
    assert four.madds - four.madds_assembly - one.madds == 4 * hidden


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("odconv(kernels=0)", "greater than or equal to 1"),
        ("odconv(temperature=-1)", "greater than or equal to 1"),
        ("odconv(reduction=0)", "greater than 0"),
        ("odconv(temperature_epochs=-1)", "greater than or equal to 0"),
        ("odconv(channel=false,filter=false,spatial=false)", "no attention is left; switch one"),
    ],
)
def test_bad_settings_are_refused_with_what_would_do(text: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        resolve(f"resnet18/{text}")


def test_a_network_of_linear_layers_is_refused() -> None:
    with pytest.raises(UnsupportedNetworkError, match="nothing to replace"):
        build("deit_tiny_patch16_224/odconv", device="meta")
