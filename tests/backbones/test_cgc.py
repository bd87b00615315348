from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from backbones.build import build
from backbones.cost import cost
from backbones.errors import SettingError
from backbones.methods.cgc import interaction_width, latent_width
from backbones.methods.cgc.operator import ContextGatedConv2d
from backbones.resolve import resolve
from backbones.sites import Site
from tests.backbones import reference_cgc
from tests.backbones.closeness import assert_equals_reference, relative_error
from tests.backbones.small_sites import CASES, shake, site

PLACES = {
    **{name: place for name, place in CASES.items() if place.kernel_size != (1, 1)},
    "two groups of channels": site((20, 4), padding=1),
}


def shaken(place: Site, dtype: torch.dtype = torch.float64) -> ContextGatedConv2d:
    """Gates that are far from a half, and norms that matter."""
    operator = ContextGatedConv2d(place)
    for name, value in operator.gate.named_parameters():
        if "decode" in name:
            nn.init.normal_(value)
    shake(operator)
    return operator.to(dtype)


@pytest.mark.parametrize(
    ("training", "images"), [(True, 1), (True, 2), (False, 1), (False, 2)], ids=str
)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_the_layer_equals_its_reference(place: Site, training: bool, images: int) -> None:
    def reference(x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        return reference_cgc.context_gated(x, state, site=place, training=training)

    operator = shaken(place).train(training)
    x = torch.randn(images, place.in_channels, 7, 6, dtype=torch.float64)
    assert_equals_reference(operator, x, reference)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", ["stride 2", "depthwise", "many outputs"])
def test_layout_and_precision_change_nothing(name: str, dtype: torch.dtype) -> None:
    def reference(x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        return reference_cgc.context_gated(x, state, site=PLACES[name], training=True)

    operator = shaken(PLACES[name], dtype).train()
    x = torch.randn(2, PLACES[name].in_channels, 5, 8, dtype=dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    assert operator(x).is_contiguous(memory_format=torch.channels_last)
    operator = shaken(PLACES[name], dtype).train()
    assert_equals_reference(operator, x, reference)


@pytest.mark.parametrize("name", ["many outputs", "groups", "depthwise"])
def test_kernels_made_in_parts_give_the_same_numbers(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backbones.per_image._PART", 64)
    operator = shaken(PLACES[name]).eval()
    x = torch.randn(3, PLACES[name].in_channels, 7, 6, dtype=torch.float64)
    wanted = operator(x)
    with torch.no_grad():
        assert relative_error(operator(x), wanted) < 1e-14


def test_a_map_may_be_smaller_than_the_kernel() -> None:
    place = site((4, 6), padding=1)
    operator = shaken(place).eval()
    x = torch.randn(2, 4, 1, 2, dtype=torch.float64)
    wanted = reference_cgc.context_gated(x, operator.state_dict(), site=place, training=False)
    assert relative_error(operator(x), wanted) < 1e-12


def test_a_gate_of_a_half_is_the_plain_convolution() -> None:
    place = site((6, 8), padding=1, stride=2)
    operator = shaken(place)
    for name, value in operator.gate.named_parameters():
        if "decode" in name:
            nn.init.zeros_(value)
    x = torch.randn(2, 6, 7, 6, dtype=torch.float64)
    wanted = nn.functional.conv2d(x, operator.weight / 2, None, 2, 1)
    assert relative_error(operator(x), wanted) < 1e-14


@pytest.mark.parametrize(
    ("channels", "kernel", "latent", "width"),
    [
        ((3, 64), 7, 25, 3),
        ((64, 64), 3, 5, 16),
        ((256, 512), 3, 5, 16),
        ((24, 24), 3, 5, 12),
        ((17, 5), 3, 5, 17),
        ((96, 96), 2, 3, 16),
    ],
)
def test_latent_numbers_and_groups_of_channels(
    channels: tuple[int, int], kernel: int, latent: int, width: int
) -> None:
    place = site(channels, kernel=kernel)
    assert latent_width(place) == latent
    assert interaction_width(place) == width


def taken(text: str) -> list[str]:
    network = build(text, device="meta")
    return [name for name, m in network.named_modules() if isinstance(m, ContextGatedConv2d)]


def test_every_kernel_above_1x1_changes_and_no_other() -> None:
    assert taken("resnet18/cgc") == [
        "conv1",
        *(f"layer{s}.{b}.conv{c}" for s in (1, 2, 3, 4) for b in (0, 1) for c in (1, 2)),
    ]
    assert len(taken("mobilenetv2_050/cgc")) == 1 + 17


def test_the_network_of_the_comparing_table_has_more_parameters_than_printed() -> None:
    plain, gated = cost("resnet18/conv"), cost("resnet18/cgc")
    assert gated.params == 11_721_791
    latent, positions = 5, 9
    layer = 3 * latent * positions + 4 * 64 + 2 * 64 + 16 * (64 // 4)
    assert gated.layers["layer1.0.conv1"].params == plain.layers["layer1.0.conv1"].params
    inside = [part for name, part in gated.layers.items() if name.startswith("layer1.0.conv1.gate")]
    assert sum(part.params for part in inside) == layer


def test_it_has_no_settings() -> None:
    with pytest.raises(SettingError, match="latent"):
        resolve("resnet18/cgc(latent=5)")
