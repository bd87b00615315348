"""Every method with a kernel for each image computes what its reference does, however it is run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from backbones import method as registry
from backbones import per_image, products
from backbones.sites import Pair, Role
from tests.backbones.closeness import (
    TOLERANCE,
    assert_equals_reference,
    errors,
    relative_error,
    wanted_of,
)
from tests.backbones.dynamic_layers import VARIANTS, Case, cases
from tests.backbones.small_sites import shake, site

LAYOUTS = (torch.contiguous_format, torch.channels_last)
ALL = cases()
SOME = cases("bias and dilation", "depthwise", "1x1, stride 2")
SMALL = (7, 6)
LARGE = (17, 15)
"""A map above the size up to which products over windows take the place of convolutions."""
DRAWS = 4
WAYS = {"usual": (per_image._PART, products._FEWEST), "small parts, all on oneDNN": (100, 1)}
"""Numbers made at a time, and multiply-adds from which products go to the other library."""


def images(count: int, case: Case, *, size: Pair = SMALL) -> Tensor:
    return torch.randn(count, case.place.in_channels, *size)


def parametrise(chosen: dict[str, Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", chosen.values(), ids=chosen)


def assert_within(tolerance: float, attempt: Callable[[], Mapping[str, float]]) -> None:
    """Draw anew where errors are large: few draws are badly conditioned, a mistake is in each."""
    for _ in range(DRAWS):
        large = {what: error for what, error in attempt().items() if error > tolerance}
        if not large:
            return
    pytest.fail(f"relative errors above {tolerance} in each of {DRAWS} draws, at last {large}")


# --- numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("training", "count"), [(True, 1), (True, 3), (False, 3)], ids=["train one", "train", "eval"]
)
@parametrise(ALL)
def test_in_double_precision_it_is_the_reference(case: Case, training: bool, count: int) -> None:
    case = replace(case, training=training)
    assert_equals_reference(case.layer().double(), images(count, case).double(), case.reference)


@parametrise(ALL)
def test_in_single_precision_and_any_layout_it_stays_within_its_tolerance(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = replace(case, training=True)

    def attempt() -> dict[str, float]:
        layer, x = case.layer(), images(3, case)
        wanted = wanted_of(layer, x, case.reference)
        found = errors(layer, x, wanted)
        layer.zero_grad()
        monkeypatch.setattr(products, "_FEWEST", 1)
        last = errors(layer, x.contiguous(memory_format=torch.channels_last), wanted)
        return found | {f"{what}, channels last on oneDNN": error for what, error in last.items()}

    assert_within(TOLERANCE[torch.float32], attempt)


@pytest.mark.parametrize("name", [name for name, v in VARIANTS.items() if len(v.temperatures) > 1])
def test_it_is_the_reference_at_every_temperature(name: str) -> None:
    (case,) = cases("uneven", variants=[name]).values()
    for temperature in case.variant.temperatures:
        case = replace(case, temperature=temperature)
        x = images(3, case).double()
        assert_equals_reference(case.layer().double(), x, case.reference)


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

    def attempt() -> dict[str, float]:
        layer, x = case.layer(), images(count, case, size=size)
        state = {name: value.double() for name, value in layer.state_dict().items()}
        wanted = case.reference(x.double(), state)
        found = {}
        for (way, (part, fewest)), layout in itertools.product(WAYS.items(), LAYOUTS):
            monkeypatch.setattr(per_image, "_PART", part)
            monkeypatch.setattr(products, "_FEWEST", fewest)
            y = layer(x.contiguous(memory_format=layout))
            assert y.is_contiguous(memory_format=layout)
            found[f"{way}, {layout}"] = relative_error(y, wanted)
        return found

    with torch.no_grad():
        assert_within(TOLERANCE[torch.float32], attempt)


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


@pytest.mark.parametrize(
    ("method", "role", "shape"),
    [
        *[("kernel_warehouse", Role.POINTWISE, shape) for shape in [(1, 12), (9, 12), (3, 5, 12)]],
        *[(name, Role.CLASSIFIER, (n, 12)) for name in ("condconv", "dcd") for n in (1, 9)],
    ],
    ids=str,
)
def test_without_gradients_a_linear_layer_gives_the_same(
    method: str, role: Role, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = site((12, 8), kernel=1, kind="linear", bias=True, role=role)
    layer = registry.load_plan(method)([place], registry.get(method).settings())["layer"]
    shake(layer)
    x = torch.randn(shape)
    wanted = layer.eval()(x)
    for part, fewest in WAYS.values():
        monkeypatch.setattr(per_image, "_PART", part)
        monkeypatch.setattr(products, "_FEWEST", fewest)
        with torch.no_grad():
            y = layer(x)
        assert y.shape == (*shape[:-1], 8)
        assert relative_error(y, wanted) < 1e-6


# --- precision -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["whole", "autocast"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@parametrise(cases("bias and dilation"))
def test_half_precision_stays_within_its_tolerance(
    case: Case, dtype: torch.dtype, how: str
) -> None:
    def attempt() -> dict[str, float]:
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
        torch.autograd.backward((y.double() * wanted.direction).sum())
        own = {"input": given, **dict(layer.named_parameters())}
        pairs = [(own[name].grad, gradient) for name, gradient in wanted.gradients.items()]
        return {
            "output": relative_error(y, wanted.output),
            "output without gradients": relative_error(quiet, wanted.output),
            "all gradients": relative_error(*(joined(side) for side in zip(*pairs, strict=True))),
        }

    assert_within(TOLERANCE[dtype], attempt)


def joined(gradients: tuple[Tensor | None, ...]) -> Tensor:
    return torch.cat([g.double().flatten() for g in gradients if g is not None])
