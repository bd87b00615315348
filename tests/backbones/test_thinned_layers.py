"""Static replacements of convolutions are traced whole, and for any number of images."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from backbones import method as registry
from tests.backbones.closeness import relative_error
from tests.backbones.small_sites import site

METHODS = ("hetconv", "gwc_pwc", "depthwise_separable", "octconv")


def strided(name: str) -> nn.Module:
    """Build the first of two layers, which strides; the second is there so that neither is last."""
    first = site((8, 8), padding=1, stride=2, bias=True)
    second = replace(first, name="second", block=1)
    made = registry.load_plan(name)([first, second], registry.get(name).settings())
    return made["layer"].eval()


@pytest.mark.parametrize("name", METHODS)
def test_a_layer_is_compiled_without_a_break(name: str) -> None:
    layer, x = strided(name), torch.randn(2, 8, 9, 7)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert relative_error(compiled(x), layer(x)) < 1e-6


@pytest.mark.parametrize("name", METHODS)
def test_a_layer_is_exported_for_any_number_of_images(name: str) -> None:
    layer, shapes = strided(name), ({0: torch.export.Dim("images", min=1, max=64)},)
    exported = torch.export.export(
        layer, (torch.randn(2, 8, 9, 7),), dynamic_shapes=shapes
    ).module()
    x = torch.randn(5, 8, 9, 7)
    with torch.no_grad():
        assert relative_error(exported(x), layer(x)) < 1e-6
