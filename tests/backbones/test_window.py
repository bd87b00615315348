"""A product over windows is the convolution, whatever the window and wherever maps lie."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from backbones import products
from backbones.sites import Pair
from backbones.window import Window, Windows
from tests.backbones.closeness import TOLERANCE, relative_error

WINDOWS = {
    "3x3": Window((3, 3), (1, 1), (1, 1), (1, 1)),
    "strided": Window((3, 3), (2, 2), (1, 1), (1, 1)),
    "dilated": Window((3, 3), (1, 1), (2, 2), (2, 2)),
    "uneven": Window((2, 3), (3, 1), (0, 2), (1, 2)),
    "point": Window((1, 1), (1, 1), (0, 0), (1, 1)),
    "strided point": Window((1, 1), (2, 3), (0, 0), (1, 1)),
    "padded point": Window((1, 1), (1, 1), (1, 0), (1, 1)),
    "as large as the map": Window((7, 6), (1, 1), (0, 0), (1, 1)),
}
every = pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)


def usual(kernels: Tensor) -> Tensor:
    return kernels


def last(kernels: Tensor) -> Tensor:
    return kernels.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)


def turned(kernels: Tensor) -> Tensor:
    return kernels.transpose(0, 1).contiguous().transpose(0, 1)


def convolved(x: Tensor, kernels: Tensor, window: Window) -> Tensor:
    pairs = zip(x, kernels, strict=True)
    return torch.stack([functional.conv2d(im, kernel, None, *window.place) for im, kernel in pairs])


def applied(windows: Windows, kernels: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.stack(list(windows.products(kernels)))


@every
@pytest.mark.parametrize("size", [(7, 6), (9, 11)], ids=str)
def test_positions_are_those_of_the_convolution(window: Window, size: Pair) -> None:
    x = torch.randn(1, 2, *size)
    wanted = convolved(x, torch.randn(1, 3, 2, *window.size), window)
    assert window.positions(x) == wanted.shape[2:]


def test_a_point_is_one_position_that_no_padding_meets() -> None:
    points = [name for name, window in WINDOWS.items() if window.is_point]
    assert points == ["point", "strided point"]


@pytest.mark.parametrize("fewest", [1, 2**40], ids=["oneDNN", "usual library"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("order", [usual, last, turned])
@every
def test_a_product_over_windows_is_the_convolution(
    window: Window,
    order: Callable[[Tensor], Tensor],
    dtype: torch.dtype,
    fewest: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(products, "_FEWEST", fewest)
    x = torch.randn(3, 4, 7, 6, dtype=dtype)
    kernels = torch.randn(3, 5, 4, *window.size, dtype=dtype)
    wanted = convolved(x, kernels, window)
    for layout in (torch.contiguous_format, torch.channels_last):
        y = applied(Windows(x.contiguous(memory_format=layout), window), order(kernels))
        assert relative_error(y, wanted) < TOLERANCE[dtype] / 10, layout


@every
def test_windows_serve_kernels_again_and_maps_that_are_parts_of_others(window: Window) -> None:
    whole = torch.randn(5, 8, 9, 10)
    kernels = torch.randn(2, 6, 4, *window.size)
    parts = {
        "some images and channels": whole[1:3, 2:6, 1:8, 2:8],
        "one image again": whole[:1, :4, :7, :6].expand(2, -1, -1, -1),
        "channels apart": whole[:2, ::2, :7, :6],
    }
    for name, x in parts.items():
        windows = Windows(x, window)
        wanted = convolved(x, kernels, window)
        for outputs in (slice(0, 2), slice(2, 6)):
            y = applied(windows, kernels[:, outputs])
            assert relative_error(y, wanted[:, outputs]) < 1e-6, name


def test_in_half_precision_products_stay_within_its_tolerance() -> None:
    window = WINDOWS["3x3"]
    x, kernels = torch.randn(2, 8, 7, 6), torch.randn(2, 5, 8, 3, 3)
    wanted = convolved(x, kernels, window)
    for dtype in (torch.bfloat16, torch.float16):
        y = applied(Windows(x.to(dtype), window), kernels.to(dtype))
        assert y.dtype is dtype
        assert relative_error(y, wanted) < TOLERANCE[dtype]
