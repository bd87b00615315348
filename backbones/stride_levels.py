"""Which calls of a network return maps, and of which stride.

The calls of one forward pass are read as a chain of outermost calls; a container in which the sides
halve more than once (all stages in one `nn.Sequential`, say) is opened, and its calls stand in its
place. The last map of each stride before the pooling is a level of the pyramid: after `layer1` to
`layer4` of a ResNet, and for MobileNetV2 after its last blocks of strides 4, 8 and 16 and its last
convolution.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from backbones.call_chain import Chain, is_map
from backbones.forward_trace import Call
from backbones.pyramid_layout import Tap
from backbones.sites import Pair

_COARSEST = 64
"""Strides beyond are no maps to detect on: a classifier that is written as convolutions has
them."""

_STRIDES = tuple(2**power for power in range(_COARSEST.bit_length()))

_SLACK = 0.3
"""Part by which a side may differ from what its stride makes it: convolutions without padding lose
a border."""


def last_of_each_stride(calls: Sequence[Call], *, image_size: Pair) -> dict[int, tuple[Tap, Call]]:
    """Find the last map of each stride before the pooling.

    Args:
        calls: Of one forward pass.
        image_size: Height and width of the image, two that differ, so that maps are told from
            tokens and from maps with their channels last.
    """
    outermost = list(Chain(calls))
    runs = Counter(call.name for call in outermost)
    levels = ((_level(call, image_size), call) for call in outermost if runs[call.name] == 1)
    return {tap.stride: (tap, call) for tap, call in levels if tap is not None}


def _stride(sides: Sequence[int], image_size: Pair, *, slack: float) -> int | None:
    """Return the power of two by which a map is smaller than the image, None if it is none."""
    down, across = (
        next((s for s in _STRIDES if abs(whole / s - part) <= whole / s * slack), None)
        for whole, part in zip(image_size, sides, strict=True)
    )
    return down if down == across else None


def _level(call: Call, image_size: Pair) -> Tap | None:
    """Read what a call returns as a map, None if it is none or of no stride."""
    if call.output is None or not is_map(call.out_shape):
        return None
    _, *first, last = call.out_shape
    (channels, *sides), (*sides_first, channels_last) = (*first, last), (*first, last)
    readings = ((sides, 0.0, False), (sides_first, 0.0, True), (sides, _SLACK, False))
    for found, slack, is_channels_last in readings:
        stride = _stride(found, image_size, slack=slack)
        if stride is not None:
            depth = channels_last if is_channels_last else channels
            return Tap(call.name, depth, stride, is_channels_last)
    return None
