"""One kernel per image, made as late as possible, is what one convolution per image would give."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from backbones import per_image
from backbones.per_image import Mixing, convolve, convolve_in_parts
from backbones.sites import Site
from tests.backbones.closeness import relative_error
from tests.backbones.small_sites import CASES


def one_by_one(x: Tensor, kernels: Tensor, site: Site) -> Tensor:
    return torch.cat(
        [
            functional.conv2d(
                image[None], kernel, None, site.stride, site.padding, site.dilation, site.groups
            )
            for image, kernel in zip(x, kernels, strict=True)
        ]
    )


def kernels_for(site: Site, images: int) -> Tensor:
    return torch.randn(
        images, site.out_channels, site.in_channels // site.groups, *site.kernel_size
    )


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("images", [1, 4])
@pytest.mark.parametrize("case", CASES)
def test_every_image_meets_its_own_kernel(
    case: str, images: int, layout: torch.memory_format
) -> None:
    site = CASES[case]
    x = torch.randn(images, site.in_channels, 7, 6).contiguous(memory_format=layout)
    kernels = kernels_for(site, images)
    y = convolve(
        x,
        kernels,
        stride=site.stride,
        padding=site.padding,
        dilation=site.dilation,
        groups=site.groups,
    )
    assert relative_error(y, one_by_one(x, kernels, site)) < 1e-6
    assert y.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("part", [1, 300, 2**18])
@pytest.mark.parametrize("case", CASES)
def test_kernels_are_asked_for_once_each_and_never_more_than_a_part_at_a_time(
    case: str, part: int, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(per_image, "_PART", part)
    site = CASES[case]
    x = torch.randn(5, site.in_channels, 7, 6).contiguous(memory_format=layout)
    kernels = kernels_for(site, 5)
    asked = torch.zeros(5, site.out_channels)
    sizes = []

    def kernels_of(images: slice, outputs: slice) -> Tensor:
        asked[images, outputs] += 1
        made = kernels[images, outputs].flatten(2)
        sizes.append(made.numel())
        return made

    with torch.no_grad():
        y = convolve_in_parts(x, kernels_of, site=site)
    assert relative_error(y, one_by_one(x, kernels, site)) < 1e-6
    assert y.is_contiguous(memory_format=layout)
    assert (asked == 1).all()
    fewest = site.out_channels if site.groups > 1 else min(32, site.out_channels)
    assert max(sizes) <= max(part, fewest * kernels[0, 0].numel())


def test_with_gradients_all_kernels_are_made_at_once() -> None:
    site = CASES["many outputs"]
    calls = []

    def kernels_of(images: slice, outputs: slice) -> Tensor:
        calls.append((images, outputs))
        return kernels_for(site, 3).flatten(2)

    convolve_in_parts(torch.randn(3, 3, 7, 6, requires_grad=True), kernels_of, site=site)
    assert calls == [(slice(None), slice(None))]


def test_a_mixture_is_the_weighted_sum_of_the_bank() -> None:
    weights, bank = torch.randn(2, 3), torch.randn(3, 4, 5)
    wanted = sum(weights[:, k, None, None] * bank[k] for k in range(3))
    assert isinstance(wanted, Tensor)
    assert relative_error(Mixing()(weights, bank), wanted) < 1e-6
