"""DY-Conv against its reference, and what it promises."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.export import Dim, export
from torch.nn import functional

from backbones import per_image
from backbones.build import anneal, build
from backbones.cost import cost
from backbones.errors import SettingError
from backbones.methods.dyconv import Settings, takes
from backbones.methods.dyconv.operator import Attention, DynamicConv2d, plan
from backbones.resolve import resolve
from backbones.sites import sites
from tests.backbones.closeness import assert_equals_reference, relative_error
from tests.backbones.reference_dyconv import dyconv
from tests.backbones.small_sites import CASES, shake, site


def layer_of(case: str, settings: Settings | None = None) -> DynamicConv2d:
    module = plan([CASES[case]], settings or Settings(kernels=3))["layer"]
    assert isinstance(module, DynamicConv2d)
    shake(module)
    return module


def compare(module: DynamicConv2d, x: Tensor) -> None:
    module.temperature = 2.0
    assert_equals_reference(
        module, x, lambda x, state: dyconv(x, state, site=module.site, temperature=2.0)
    )


@pytest.mark.parametrize("case", CASES)
def test_a_layer_equals_its_reference(case: str) -> None:
    module = layer_of(case).double()
    compare(module, torch.randn(3, module.site.in_channels, 7, 6, dtype=torch.float64))


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("case", ["3x3", "1x1, stride 2", "depthwise"])
def test_batch_mode_and_layout_change_nothing(
    case: str, images: int, layout: torch.memory_format, *, training: bool
) -> None:
    module = layer_of(case).train(training)
    x = torch.randn(images, module.site.in_channels, 5, 7).contiguous(memory_format=layout)
    compare(module, x)
    assert module(x).is_contiguous(memory_format=layout)


@pytest.mark.parametrize("case", CASES)
def test_making_kernels_in_parts_changes_nothing(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = layer_of(case).eval()
    x = torch.randn(5, module.site.in_channels, 7, 6)
    wanted = module(x)
    for part in (1, 2**10, 2**18):
        monkeypatch.setattr(per_image, "_PART", part)
        with torch.no_grad():
            assert relative_error(module(x), wanted) < 1e-6


def test_with_one_kernel_it_is_a_plain_convolution() -> None:
    module = layer_of("bias", Settings(kernels=1))
    x = torch.randn(2, 3, 6, 5)
    assert module.bias is not None
    wanted = functional.conv2d(x, module.weight.view(4, 3, 3, 3), module.bias[0], padding=1)
    assert relative_error(module(x), wanted) < 1e-6


def test_a_high_temperature_weighs_all_kernels_alike() -> None:
    attention = Attention(8, hidden=3, kernels=4)
    weights = attention(torch.randn(5, 8), temperature=1e9)
    assert torch.allclose(weights, torch.full((5, 4), 0.25), atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("", [(0, 34), (9, 34), (10, 31), (109, 4), (110, 1), (10_000, 1)]),
        ("(schedule=linear)", [(0, 1 + 29 * 0.99), (49, 15.5), (99, 1), (10_000, 1)]),
        ("(schedule=linear,temperature=3,temperature_epochs=1)", [(4, 2), (9, 1), (10, 1)]),
        ("(schedule=linear,temperature_epochs=0)", [(0, 1)]),
        ("(schedule=constant)", [(0, 30), (10_000, 30)]),
    ],
    ids=str,
)
def test_the_temperature_follows_its_schedule(
    settings: str, expected: list[tuple[int, float]]
) -> None:
    network = build(f"resnet18/dyconv{settings}", device="meta")
    layers = [module for module in network.modules() if isinstance(module, DynamicConv2d)]
    built = 30.0 if "constant" in settings else 1.0
    assert {layer.temperature for layer in layers} == {built}
    for step, temperature in expected:
        anneal(network, step=step, steps_per_epoch=10)
        assert [layer.temperature for layer in layers] == pytest.approx([temperature] * len(layers))


def test_initial_weights_are_those_of_the_code() -> None:
    module = plan([site((64, 96), padding=1)], Settings())["layer"]
    assert isinstance(module, DynamicConv2d)
    bound = math.sqrt(6 / (64 * 9))
    assert module.weight.abs().max().item() == pytest.approx(bound, rel=1e-3)
    assert module.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.01)
    reduce, logits = module.attention.reduce, module.attention.logits
    assert reduce.weight.shape == (17, 64)
    assert reduce.weight.std().item() == pytest.approx(math.sqrt(2 / 17), rel=0.1)
    assert logits.bias.count_nonzero() == 0


@pytest.mark.parametrize(
    ("precision", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float16, 4e-3)], ids=str
)
def test_half_precision_stays_near(precision: torch.dtype, tolerance: float) -> None:
    module = layer_of("bias").eval()
    x = torch.randn(3, 3, 6, 6)
    wanted = module(x)
    with torch.autocast("cpu", dtype=precision):
        assert relative_error(module(x), wanted) < tolerance
    assert relative_error(module.to(precision)(x.to(precision)), wanted) < 2 * tolerance


def test_a_layer_exports_with_any_batch_and_size() -> None:
    module = layer_of("1x1").eval()
    shapes = {"x": {0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO}}
    exported = export(module, (torch.randn(2, 6, 8, 8),), dynamic_shapes=shapes).module()
    x = torch.randn(3, 6, 5, 11)
    assert relative_error(exported(x), module(x)) < 1e-6


@pytest.mark.parametrize("network", ["resnet18", "mobilenetv2_100"])
def test_every_convolution_but_the_stem_is_taken(network: str) -> None:
    convolutions = [site for site in sites(network) if site.kind == "conv2d"]
    left = [site.name for site in convolutions if not takes(site, Settings())]
    assert left == [convolutions[0].name]


def test_multiply_adds_of_the_mixing_stand_apart() -> None:
    counted = cost("resnet18/dyconv")
    kernels = sum(
        site.out_channels * site.in_channels * math.prod(site.kernel_size)
        for site in sites("resnet18")
        if site.kind == "conv2d" and takes(site, Settings())
    )
    assert counted.madds_assembly == 4 * kernels


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dyconv(kernels=0)", "greater than or equal to 1"),
        ("dyconv(temperature=-1)", "greater than or equal to 1"),
        ("dyconv(reduction=2)", "less than or equal to 1"),
        ("dyconv(schedule=cosine)", "'steps', 'linear' or 'constant'"),
    ],
)
def test_bad_settings_are_refused_with_what_would_do(text: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        resolve(f"resnet18/{text}")
