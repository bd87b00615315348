"""What an AddressNet block is made of, from its settings and its place. No torch.

All of it is *our reading* of AddressNet (He et al., WACV 2019, arXiv 1809.08458), whose layer
tables could not be had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from backbones.shift import DIRECTIONS, Boundary, Pair, Shift

Shortcut = Literal["shift", "add"]


@dataclass(frozen=True)
class Place:
    """Where a block stands: channels in and out (no fewer), and its stride."""

    channels: int
    outputs: int
    stride: Pair = (1, 1)


@dataclass(frozen=True)
class Variant:
    """What may be chosen of a block.

    Attributes:
        expansion: Channels of the wide map for each output.
        groups: Of both convolutions; divides all channels.
        directions: Of the address shift, a key of `shift.DIRECTIONS`.
        boundary: Of the address shift.
        distance: Of the channel shift, as a share of a group of the wide map.
        shortcut: ``shift`` or ``add``.
        fresh: Share of the outputs that a block with shortcut shift makes anew.
    """

    expansion: float = 6.0
    groups: int = 2
    directions: int = 4
    boundary: Boundary = "zero"
    distance: float = 0.5
    shortcut: Shortcut = "shift"
    fresh: float = 0.5


@dataclass(frozen=True)
class BlockShape:
    """What a block needs to know.

    Attributes:
        place: Where it stands.
        shift: What happens to the wide map; its channels are the width.
        groups: Of both convolutions.
        shortcut: ``shift`` or ``add``.
        fresh: Channels that the second convolution makes: all of them for a sum.
        ahead: Channels that the blocks behind it will make, for which room is reserved.
    """

    place: Place
    shift: Shift
    groups: int
    shortcut: Shortcut
    fresh: int
    ahead: int = 0


def shapes(places: Sequence[Place], variant: Variant) -> list[BlockShape]:
    """Return the shapes of blocks that follow each other directly."""
    made: list[BlockShape] = []
    ahead = 0
    for place in reversed(places):
        fresh = fresh_channels(place, variant)
        made.append(
            BlockShape(
                place, wide_shift(place, variant), variant.groups, variant.shortcut, fresh, ahead
            )
        )
        # a map of another size needs memory of its own
        ahead = ahead + fresh if place.stride == (1, 1) else 0
    return made[::-1]


def wide_shift(place: Place, variant: Variant) -> Shift:
    """Return what happens to the channels between the two convolutions."""
    in_group = max(1, round(variant.expansion * place.outputs / variant.groups))
    distance = int(variant.distance * in_group)
    directions = DIRECTIONS[variant.directions]
    return Shift(variant.groups * in_group, distance, directions, variant.boundary)


def fresh_channels(place: Place, variant: Variant) -> int:
    """Return how many channels the second convolution makes."""
    if variant.shortcut == "add":
        return place.outputs
    in_group = max(1, round(variant.fresh * place.outputs / variant.groups))
    return max(variant.groups * in_group, place.outputs - place.channels)
