"""Where in a network the maps of a pyramid are, and what leads to each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from backbones.call_chain import Chain
from backbones.forward_trace import Call


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
        patch: Side in pixels of the patches of a network of tokens, whose taps are all at its end;
            0 where each tap has a map of its own.
    """

    taps: tuple[Tap, ...]
    parts: tuple[tuple[str, ...], ...]
    depths: Mapping[str, int] = field(repr=False)
    blocks: int
    rest: tuple[str, ...]
    patch: int = 0


def lay_out(
    network: nn.Module,
    calls: Sequence[Call],
    *,
    taps: Sequence[Tap],
    ends: Sequence[int],
    blocks: Sequence[str],
    patch: int = 0,
) -> Layout:
    """Say what leads to each tap.

    Args:
        network: The network.
        calls: Of one forward pass.
        taps: Finest first.
        ends: When, in the time of the calls, the part that leads to each tap ends.
        blocks: Names of the network's blocks.
        patch: Side in pixels of the patches of a network of tokens, else 0.
    """
    chain, last = Chain(calls), ends[-1]
    spans = [chain.between(begin, end) for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
    used = {call.name for call in calls if call.begin < last}
    behind = (call.name for call in chain.between(last, calls[-1].end))
    return Layout(
        taps=tuple(taps),
        parts=tuple(tuple(call.name for call in span) for span in spans),
        depths=_depths([call for call in calls if call.end <= last], spans, blocks),
        blocks=sum(call.name in blocks and call.end <= last for call in calls),
        rest=(
            *(name for name in behind if name and name not in used),
            *_auxiliary(network, calls),
        ),
        patch=patch,
    )


def _auxiliary(network: nn.Module, calls: Sequence[Call]) -> list[str]:
    """Name the children that run in training only: classifiers beside the last one."""
    ran = {call.name.partition(".")[0] for call in calls}
    return [
        name
        for name, child in network.named_children()
        if name not in ran and next(child.parameters(), None) is not None
    ]


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
