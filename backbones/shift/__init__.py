"""How the channels of a map are moved: rotated (channel shift) and translated (address shift).

The primitives of AddressNet (He et al., WACV 2019, arXiv 1809.08458). No torch. The paper's text
gives them as moves of a pointer; directions, boundary and distance are *our reading*:

* Address shift: channels are cut into equal blocks, one for each direction; the block of direction
  (dy, dx) becomes y[c, i, j] = x[c, i + dy, j + dx]. What divides into no block stays.
* Channel shift by t: y[c] = x[(c + t) mod C].
* Both: first the address shift, then the channel shift.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

Pair = tuple[int, int]
Boundary = Literal["zero", "wrap"]
"""What a block reads beyond the border. ``zero``: zeros. ``wrap``: what stands there in memory, as
a pointer that only moves finds it: a row goes on in its neighbour, the last row in the first (not
in the next channel, so that no image depends on another)."""

STILL: Pair = (0, 0)
_AXES = ((0, 1), (0, -1), (1, 0), (-1, 0))
_DIAGONALS = ((1, 1), (1, -1), (-1, 1), (-1, -1))
DIRECTIONS: dict[int, tuple[Pair, ...]] = {
    4: _AXES,
    5: (STILL, *_AXES),
    8: (*_AXES, *_DIAGONALS),
    9: (STILL, *_AXES, *_DIAGONALS),
}
"""Sets of directions by their number; nine are those of a 3x3 window (ShiftNet)."""


@dataclass(frozen=True)
class Piece:
    """Channels that lie together before and after, and move in one direction.

    Attributes:
        source: First channel before.
        target: First channel after.
        length: Number of channels.
        offset: (dy, dx) of what is read.
    """

    source: int
    target: int
    length: int
    offset: Pair


@dataclass(frozen=True)
class Shift:
    """A move of all channels of a map.

    Attributes:
        channels: Of the map (C).
        distance: Of the channel shift, in channels (t).
        directions: Of the address shift, (dy, dx) each; none leaves each channel where it is.
        boundary: Of the address shift.
        pieces: All channels in the order in which they stand after.
    """

    channels: int
    distance: int = 0
    directions: tuple[Pair, ...] = ()
    boundary: Boundary = "zero"
    pieces: tuple[Piece, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Cut once: a tracer that follows a forward pass follows no cache."""
        object.__setattr__(self, "pieces", self.cut(1))

    def direction(self, channel: int) -> Pair:
        """Return the (dy, dx) of a channel, counted before the channel shift."""
        block = self.channels // max(1, len(self.directions))
        rank = channel // max(1, block)
        return self.directions[rank] if rank < len(self.directions) and block else STILL

    def cut(self, groups: int) -> tuple[Piece, ...]:
        """Return the pieces, cut where a group of the channels after ends."""
        width = self.channels // groups

        def key(target: int) -> tuple[int, Pair, int]:
            source = self._source(target)
            return target // width, self.direction(source), source - target

        found = []
        for (_, offset, _), run in groupby(range(self.channels), key):
            targets = list(run)
            found.append(Piece(self._source(targets[0]), targets[0], len(targets), offset))
        return tuple(found)

    def _source(self, target: int) -> int:
        return (target + self.distance) % self.channels
