"""Find the maps of a backbone by running it once on the `meta` device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from backbones.build import build
from backbones.errors import UnsupportedNetworkError
from backbones.forward_trace import Call, trace
from backbones.pyramid_layout import Layout, Tap, cut, lay_out
from backbones.resolve import Resolved
from backbones.sites import sites
from backbones.stride_levels import last_of_each_stride
from backbones.token_levels import is_of_tokens, lay_out_tokens, take_any_size

_SIZE = (256, 384)
"""Height and width of the traced image: large enough that no map shrinks to 1x1."""

_FAULTS = (RuntimeError, ValueError, AssertionError, TypeError, AttributeError)
"""What networks raise on images that they do not take."""


@lru_cache(maxsize=64)
def find_layout(backbone: Resolved, *, image_size: int, levels: int) -> Layout:
    """Find the maps of a backbone.

    Args:
        backbone: Resolved.
        image_size: Side in pixels of the images for which the network is built.
        levels: How many strides at most; the coarsest are taken.

    Raises:
        UnsupportedNetworkError: It does not take images of other sizes, or has maps of one stride
            only.
    """
    network = build(backbone, image_size=image_size, device="meta")
    take_any_size(network)
    try:
        calls = trace(network, image_size=_SIZE)
    except _FAULTS as error:
        raise UnsupportedNetworkError(
            f"{backbone} takes only images of the size for which it is built "
            f"({str(error) or type(error).__name__}); detection needs a network that takes any, "
            "such as resnet50 or convnext_tiny"
        ) from error
    blocks = _blocks(backbone, image_size)
    if is_of_tokens(network):
        layout = lay_out_tokens(network, calls, blocks=blocks, levels=levels)
    else:
        found = last_of_each_stride(calls, image_size=_SIZE)
        _require_maps(found, blocks, calls, str(backbone))
        kept = [found[stride] for stride in sorted(found)[-levels:]]
        taps, ends = [tap for tap, _ in kept], [call.end for _, call in kept]
        layout = lay_out(network, calls, taps=taps, ends=ends, blocks=blocks)
    _require_gradients(network, layout, str(backbone))
    return layout


def _blocks(backbone: Resolved, image_size: int) -> Sequence[str]:
    """Name the blocks of the plain network; without any, its layers count as blocks."""
    plain = sites(backbone, image_size=image_size)
    names = dict.fromkeys(site.block_name for site in plain if site.block_name)
    return tuple(names or dict.fromkeys(site.name for site in plain))


def _require_maps(
    found: Mapping[int, tuple[Tap, Call]], blocks: Sequence[str], calls: Sequence[Call], text: str
) -> None:
    strides = ", ".join(map(str, sorted(found))) or "none"
    last = max((call.end for _, call in found.values()), default=0)
    beyond = sum(call.name in blocks and call.begin > last for call in calls)
    if len(found) < 2:
        raise UnsupportedNetworkError(
            f"{text} has no maps of several strides (found: {strides}), which a feature pyramid "
            "needs; choose a network whose stages halve the map, such as resnet50, "
            "mobilenetv2_100 or convnext_tiny"
        )
    if beyond > len(blocks) // 2:
        raise UnsupportedNetworkError(
            f"{text} has maps only before most of its blocks (strides {strides}; {beyond} of "
            f"{len(blocks)} blocks work on tokens after them); choose a network of convolutions, "
            "such as resnet50, mobilenetv2_100 or convnext_tiny"
        )


def _require_gradients(network: nn.Module, layout: Layout, text: str) -> None:
    """Cut the network and see that each parameter that is left takes part in a map.

    Raises:
        UnsupportedNetworkError: It does not run without its head, or has parameters that serve
            only the head.
    """
    network.eval().requires_grad_()
    cut(network, layout)
    maps: list[Tensor] = []
    for tap in layout.taps:
        network.get_submodule(tap.path).register_forward_hook(lambda *call: maps.append(call[-1]))
    try:
        network(torch.empty(1, 3, *_SIZE, device="meta"))
    except _FAULTS as error:
        raise UnsupportedNetworkError(
            f"{text} does not run without its classifier ({error}); choose another network"
        ) from error
    names, parameters = zip(*network.named_parameters(), strict=True)
    gradients = torch.autograd.grad(maps, parameters, maps, allow_unused=True)
    unused = [name for name, one in zip(names, gradients, strict=True) if one is None]
    if unused:
        raise UnsupportedNetworkError(
            f"{text} has {len(unused)} parameters that serve none of its maps of strides "
            f"{', '.join(str(tap.stride) for tap in layout.taps)} ({', '.join(unused[:3])}, ...); "
            "choose another network"
        )
