"""Every method with a kernel for each image computes what its reference does, however it is run."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from backbones import per_image
from backbones.sites import Pair
from tests.backbones.closeness import (
    TOLERANCE,
    assert_gives,
    relative_error,
    wanted_of,
)
from tests.backbones.dynamic_layers import VARIANTS, Case, cases

LAYOUTS = (torch.contiguous_format, torch.channels_last)
ALL = cases()
SOME = cases("bias and dilation", "depthwise", "1x1, stride 2")
SMALL = (7, 6)
LARGE = (17, 15)
"""A map above the size up to which products over windows take the place of convolutions."""
DRAWS = 5


def images(count: int, case: Case, *, size: Pair = SMALL) -> Tensor:
    return torch.randn(count, case.place.in_channels, *size)


def parametrise(chosen: dict[str, Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", chosen.values(), ids=chosen)


# --- numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@parametrise(ALL)
def test_output_and_all_gradients_equal_the_reference(
    case: Case, training: bool, count: int
) -> None:
    case = replace(case, training=training)
    layer, x = case.layer(spread=1.0), images(count, case)
    wanted = wanted_of(layer, x, case.reference)
    for layout in LAYOUTS:
        layer.zero_grad()
        assert_gives(layer, x.contiguous(memory_format=layout), wanted)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", VARIANTS)
def test_in_double_precision_it_is_the_reference_at_every_temperature(
    name: str, training: bool
) -> None:
    (case,) = cases(
        "uneven" if "dcd" not in name else "bias and dilation", variants=[name]
    ).values()
    for temperature in case.variant.temperatures:
        case = replace(case, training=training, temperature=temperature)
        layer, x = case.layer().double(), images(3, case).double()
        assert_gives(layer, x, wanted_of(layer, x, case.reference))


@pytest.mark.parametrize(
    ("training", "count", "size"),
    [(True, 10, SMALL), (False, 10, SMALL), (False, 1, SMALL), (False, 2, LARGE)],
    ids=["train", "eval", "one image", "large map"],
)
@parametrise(ALL)
def test_without_gradients_it_is_the_reference_in_parts_of_any_size(
    case: Case, training: bool, count: int, size: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = replace(case, training=training)
    layer, x = case.layer(), images(count, case, size=size)
    with torch.no_grad():
        state = {name: value.double() for name, value in layer.state_dict().items()}
        wanted = case.reference(x.double(), state)
    for part in (per_image._PART, 100):
        monkeypatch.setattr(per_image, "_PART", part)
        for layout in LAYOUTS:
            with torch.no_grad():
                y = layer(x.contiguous(memory_format=layout))
            where = f"parts of {part}, {layout}"
            assert relative_error(y, wanted) < TOLERANCE[x.dtype], where
            assert y.is_contiguous(memory_format=layout), where


@parametrise(SOME)
def test_a_map_that_lies_otherwise_in_memory_gives_the_same(case: Case) -> None:
    layer, x = case.layer(), images(3, case)
    with torch.inference_mode():
        wanted = layer(x)
        apart = torch.stack((x, x), dim=4)[..., 0]
        turned = x.transpose(2, 3).contiguous().transpose(2, 3)
        repeated = x[:1].expand(3, -1, -1, -1)
        assert relative_error(layer(apart), wanted) < 1e-6
        assert relative_error(layer(turned), wanted) < 1e-6
        assert relative_error(layer(repeated), wanted[:1].expand_as(wanted)) < 1e-6


# --- precision -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["whole", "autocast"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@parametrise(cases("bias and dilation"))
def test_half_precision_stays_within_its_tolerance(
    case: Case, dtype: torch.dtype, how: str
) -> None:
    errors = []
    for _ in range(DRAWS):
        layer, x = case.layer(spread=1.0), images(3, case)
        if how == "whole":
            layer, x = layer.to(dtype), x.to(dtype)
        wanted = wanted_of(layer, x, case.reference)
        given = x.clone().requires_grad_()
        with torch.autocast("cpu", dtype, enabled=how == "autocast"):
            y = layer(given)
            with torch.no_grad():
                quiet = layer(given)
        assert y.dtype is quiet.dtype is dtype
        assert relative_error(y, wanted.output) < TOLERANCE[dtype]
        assert relative_error(quiet, wanted.output) < TOLERANCE[dtype]
        torch.autograd.backward((y.double() * wanted.direction).sum())
        own = {"input": given, **dict(layer.named_parameters())}
        pairs = [(own[name].grad, gradient) for name, gradient in wanted.gradients.items()]
        errors.append(relative_error(*(joined(side) for side in zip(*pairs, strict=True))))
    # in some draws a rounded number lies on the other side of a ReLU, with another gradient
    assert sorted(errors)[DRAWS // 2] < TOLERANCE[dtype]


def joined(gradients: tuple[Tensor | None, ...]) -> Tensor:
    return torch.cat([g.double().flatten() for g in gradients if g is not None])
