"""Convolutions that a method thins out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from backbones.sites import Site
from tests.backbones.closeness import TOLERANCE, assert_equals_reference, relative_error
from tests.backbones.small_sites import site

PLACES: Mapping[str, Site] = {
    "3x3": site((4, 8), padding=1),
    "stride 2": site((8, 4), padding=1, stride=2),
    "stride 3, bias": site((4, 4), padding=1, stride=3, bias=True),
    "5x5, dilation": site((4, 12), kernel=5, padding=4, dilation=2),
    "uneven": replace(
        site((8, 8), bias=True), kernel_size=(1, 7), padding=(0, 3), stride=(2, 1), out_size=(4, 6)
    ),
}
"""Every form that the rule of `backbones.dense_spatial` lets through; channels divide by 4."""

SIZES = ((7, 6), (8, 5), (1, 1))


def assert_layer_equals(
    layer: nn.Module, place: Site, reference: Callable[[Tensor, Mapping[str, Tensor]], Tensor]
) -> None:
    """Compare with the reference for odd and tiny maps, one image and several, in either layout."""
    # on one pixel a norm in training undoes a channel's only weight: its gradient is rounding
    normed = layer.training and any(isinstance(m, nn.BatchNorm2d) for m in layer.modules())
    for height, width in SIZES[:-1] if normed else SIZES:
        for images in (1, 3):
            x = torch.randn(images, place.in_channels, height, width)
            x = x.to(next(layer.parameters()).dtype)
            for layout in (torch.contiguous_format, torch.channels_last):
                layer.zero_grad()
                assert_equals_reference(layer, x.contiguous(memory_format=layout), reference)


def assert_half_precision(
    layer: nn.Module, place: Site, reference: Callable[[Tensor, Mapping[str, Tensor]], Tensor]
) -> None:
    """Compare under autocast, and with all numbers in half precision."""
    x = torch.randn(3, place.in_channels, 9, 8)
    state = {name: value.double() for name, value in layer.state_dict().items()}
    wanted = reference(x.double(), state)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert relative_error(layer(x), wanted) < TOLERANCE[torch.bfloat16]
    with torch.no_grad():
        whole = layer.to(torch.bfloat16)(x.to(torch.bfloat16))
    assert whole.dtype is torch.bfloat16
    assert relative_error(whole, wanted) < TOLERANCE[torch.bfloat16]
