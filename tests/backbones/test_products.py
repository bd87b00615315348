"""A product is the same on every library, with its gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from backbones import products
from backbones.products import is_plain, linear
from tests.backbones.closeness import TOLERANCE, relative_error

ROWS, INNER, OUTPUTS = 5, 7, 4


def usual(rows: int, columns: int) -> Tensor:
    return torch.randn(rows, columns)


def transposed(rows: int, columns: int) -> Tensor:
    return torch.randn(columns, rows).t()


def every_second(rows: int, columns: int) -> Tensor:
    return torch.randn(2 * rows, 2 * columns)[::2, ::2]


def apart(rows: int, columns: int) -> Tensor:
    """Rows that lie whole, at a distance."""
    return torch.randn(rows, columns + 3)[:, 1:-2]


def repeated(rows: int, columns: int) -> Tensor:
    return torch.randn(1, columns).expand(rows, -1)


LAYOUTS: Mapping[str, Callable[[int, int], Tensor]] = {
    made.__name__: made for made in (usual, transposed, every_second, apart, repeated)
}


@pytest.fixture(autouse=True)
def _no_product_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_FEWEST", 1)


@pytest.fixture
def on_onednn(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Which way each product went."""
    went: list[bool] = []
    ask = products._is_for_onednn

    def asked(x: Tensor, weight: Tensor) -> bool:
        went.append(ask(x, weight))
        return went[-1]

    monkeypatch.setattr(products, "_is_for_onednn", asked)
    return went


@pytest.mark.parametrize("recording", [True, False], ids=["with gradients", "without"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("weight_layout", LAYOUTS)
@pytest.mark.parametrize("x_layout", LAYOUTS)
def test_arguments_may_lie_in_memory_as_they_like(
    x_layout: str, weight_layout: str, dtype: torch.dtype, recording: bool
) -> None:
    x = LAYOUTS[x_layout](ROWS, INNER).to(dtype).requires_grad_()
    weight = LAYOUTS[weight_layout](OUTPUTS, INNER).to(dtype).requires_grad_()
    with torch.set_grad_enabled(recording):
        y = linear(x, weight)
    wanted = x.double() @ weight.double().t()
    assert y.is_contiguous()
    assert relative_error(y, wanted) < TOLERANCE[dtype] / 10
    if recording:
        direction = torch.randn(ROWS, OUTPUTS, dtype=dtype)
        found = torch.autograd.grad(y, (x, weight), direction)
        expected = torch.autograd.grad(wanted, (x, weight), direction.double())
        for actual, gradient in zip(found, expected, strict=True):
            assert relative_error(actual, gradient) < TOLERANCE[dtype] / 10


@pytest.mark.parametrize("learns", ["x", "weight"])
def test_what_needs_no_gradient_gets_none(learns: str) -> None:
    given = {"x": usual(ROWS, INNER), "weight": usual(OUTPUTS, INNER)}
    given[learns].requires_grad_()
    torch.autograd.backward(linear(**given).sum())
    assert {name for name, value in given.items() if value.grad is not None} == {learns}


@pytest.mark.parametrize(
    ("rows", "inner", "outputs"), [(0, 7, 4), (5, 0, 4), (5, 7, 0), (1, 1, 1)], ids=str
)
def test_nothing_is_a_product_too(rows: int, inner: int, outputs: int) -> None:
    with torch.no_grad():
        y = linear(usual(rows, inner), usual(outputs, inner))
    assert y.shape == (rows, outputs)
    assert bool(y.isfinite().all())


# switching oneDNN off and on sets its other flags, too, and of one torch warns
@pytest.mark.filterwarnings("ignore:TF32 acceleration:UserWarning")
def test_only_products_in_single_precision_leave_the_usual_library(on_onednn: list[bool]) -> None:
    x, weight = usual(ROWS, INNER), usual(OUTPUTS, INNER)
    wanted = x @ weight.t()
    with torch.no_grad():
        assert relative_error(linear(x, weight), wanted) < 1e-6
        assert on_onednn.pop() == products._HAS_ONEDNN
        linear(x.double(), weight.double())
        assert not on_onednn.pop()
        linear(x.bfloat16(), weight.bfloat16())
        assert not on_onednn.pop()
        with torch.backends.mkldnn.flags(enabled=False):
            assert relative_error(linear(x, weight), wanted) < 1e-6
        assert not on_onednn.pop()
        with torch.autocast("cpu", torch.bfloat16):
            assert linear(x, weight).dtype is torch.bfloat16
        assert not on_onednn.pop()
        assert linear(x.to("meta"), weight.to("meta")).shape == wanted.shape
        assert not on_onednn.pop()


def test_only_where_nothing_is_recorded_or_traced_may_a_loop_be_made() -> None:
    x = usual(2, 2)
    assert not is_plain(x)
    with torch.no_grad():
        assert is_plain(x)
        assert not is_plain(x.to("meta"))
    with torch.inference_mode():
        assert is_plain(x)

    seen = []

    @torch.compile(backend="eager", fullgraph=True)
    def traced(x: Tensor) -> Tensor:
        return x + 1 if is_plain(x) else x + 2

    with torch.no_grad():
        seen.append(traced(x))
    assert torch.equal(seen[0], x + 2)
