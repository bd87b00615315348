"""Where in a network the maps of each stride are, found by running it once on the `meta` device.

The calls of one forward pass are read as a chain of outermost calls; a container in which the sides
halve more than once (all stages in one `nn.Sequential`, say) is opened, and its calls stand in its
place. The last map of each stride before the pooling is a level of the pyramid: after `layer1` to
`layer4` of a ResNet, and for MobileNetV2 after its last blocks of strides 4, 8 and 16 and its last
convolution.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor, nn

from backbones.build import build
from backbones.call_chain import Chain, is_map
from backbones.errors import UnsupportedNetworkError
from backbones.forward_trace import Call, trace
from backbones.resolve import Resolved
from backbones.sites import sites

_SIZE = (256, 384)
"""Height and width of the traced image: two, so that a map is not taken for tokens, and large
enough that no map shrinks to 1x1."""

_FAULTS = (RuntimeError, ValueError, AssertionError, TypeError, AttributeError)
"""What networks raise on images that they do not take."""

_COARSEST = 64
"""Strides beyond are no maps to detect on: a classifier that is written as convolutions has
them."""

_STRIDES = tuple(2**power for power in range(_COARSEST.bit_length()))

_SLACK = 0.3
"""Part by which a side may differ from what its stride makes it: convolutions without padding lose
a border."""


@dataclass(frozen=True)
class Tap:
    """One level of a pyramid.

    Attributes:
        path: Dotted path of the module whose output is the map.
        channels: Of the map.
        stride: Pixels of the image for one of the map, in both directions.
        is_channels_last: Whether the module returns (N, H, W, C).
    """

    path: str
    channels: int
    stride: int
    is_channels_last: bool


@dataclass(frozen=True)
class Layout:
    """Where the maps of a network are, and what leads to them.

    Attributes:
        taps: Finest first.
        parts: For each tap the paths of the modules that run up to it, from the tap before on.
            Modules inside these are not named.
        depths: Path of each of these modules, and of each block inside one, to the block that it
            is or leads to: from 0, and -1 before the first block.
        blocks: How many blocks there are up to the last tap.
        rest: Paths of the modules that run after the last tap, or only in training.
    """

    taps: tuple[Tap, ...]
    parts: tuple[tuple[str, ...], ...]
    depths: Mapping[str, int] = field(repr=False)
    blocks: int
    rest: tuple[str, ...]


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
    try:
        calls = trace(network, image_size=_SIZE)
    except _FAULTS as error:
        raise UnsupportedNetworkError(
            f"{backbone} takes only images of the size for which it is built "
            f"({str(error) or type(error).__name__}); detection needs a network that takes any, "
            "such as resnet50 or convnext_tiny"
        ) from error
    layout = _read(backbone, calls, network, image_size=image_size, levels=levels)
    _require_gradients(network, layout, str(backbone))
    return layout


def _read(
    backbone: Resolved,
    calls: Sequence[Call],
    network: nn.Module,
    *,
    image_size: int,
    levels: int,
) -> Layout:
    blocks = _blocks(backbone, image_size)
    chain = Chain(calls)
    found = _last_of_each_stride(chain)
    _require_maps(found, blocks, calls, str(backbone))
    kept = [found[stride] for stride in sorted(found)[-levels:]]
    ends = [call.end for _, call in kept]
    spans = [chain.between(begin, end) for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
    used = {call.name for call in calls if call.begin < ends[-1]}
    return Layout(
        taps=tuple(tap for tap, _ in kept),
        parts=tuple(tuple(call.name for call in span) for span in spans),
        depths=_depths([call for call in calls if call.end <= ends[-1]], spans, blocks),
        blocks=sum(call.name in blocks and call.end <= ends[-1] for call in calls),
        rest=(
            *(
                call.name
                for call in chain.between(ends[-1], calls[-1].end)
                if call.name and call.name not in used
            ),
            *_auxiliary(network, calls),
        ),
    )


def _auxiliary(network: nn.Module, calls: Sequence[Call]) -> list[str]:
    """Name the children that run in training only: classifiers beside the last one."""
    ran = {call.name.partition(".")[0] for call in calls}
    return [
        name
        for name, child in network.named_children()
        if name not in ran and next(child.parameters(), None) is not None
    ]


def _stride(sides: Sequence[int], *, slack: float) -> int | None:
    """Return the power of two by which a map is smaller than the image, None if it is none."""
    down, across = (
        next((s for s in _STRIDES if abs(whole / s - part) <= whole / s * slack), None)
        for whole, part in zip(_SIZE, sides, strict=True)
    )
    return down if down == across else None


def _level(call: Call) -> Tap | None:
    """Read what a call returns as a map, None if it is none or of no stride."""
    if call.output is None or not is_map(call.out_shape):
        return None
    _, *first, last = call.out_shape
    (channels, *sides), (*sides_first, channels_last) = (*first, last), (*first, last)
    readings = ((sides, 0.0, False), (sides_first, 0.0, True), (sides, _SLACK, False))
    for found, slack, is_channels_last in readings:
        stride = _stride(found, slack=slack)
        if stride is not None:
            depth = channels_last if is_channels_last else channels
            return Tap(call.name, depth, stride, is_channels_last)
    return None


def _last_of_each_stride(chain: Chain) -> dict[int, tuple[Tap, Call]]:
    outermost = list(chain)
    runs = Counter(call.name for call in outermost)
    levels = ((_level(call), call) for call in outermost if runs[call.name] == 1)
    return {tap.stride: (tap, call) for tap, call in levels if tap is not None}


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


def _depths(
    calls: Sequence[Call], spans: Sequence[Sequence[Call]], blocks: Sequence[str]
) -> dict[str, int]:
    """Number the blocks as they run, and all else by the block that follows."""
    begins = sorted(call.begin for call in calls if call.name in blocks)
    outside = [call for span in spans for call in span]
    inner = [call for call in calls if call.name in blocks]
    found = {}
    for call in [*outside, *inner]:
        before = sum(begin < call.begin for begin in begins)
        found[call.name] = -1 if before == 0 and call.name not in blocks else before
    return {name: min(depth, len(begins) - 1) for name, depth in found.items()}


def cut(network: nn.Module, layout: Layout) -> None:
    """Put a `PassThrough` in the place of everything after the last tap."""
    for path in layout.rest:
        network.set_submodule(path, PassThrough())


class PassThrough(nn.Module):
    """Returns what it is given, whatever else comes with it (heads get keyword arguments)."""

    def forward(self, x: object, *_: object, **__: object) -> object:
        """Return the first argument."""
        return x
