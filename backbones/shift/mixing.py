"""What a shifted point-wise convolution does with a map, apart from its numbers. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from backbones.shift import STILL, Pair, Piece, Shift


@dataclass(frozen=True)
class Mixing:
    """What a shifted point-wise convolution does with a map, apart from its numbers.

    Attributes:
        shift: What happens to the channels before the product.
        outputs: Channels that come out.
        groups: Of the convolution.
        stride: Vertical and horizontal.
        pieces: The runs of channels, each within one group.
        runs: The same, groups that lie together as one.
        even: The same in the order of their source, where each is as long as the others.
        only_rotates: Whether no channel is translated and no pixel left out.
    """

    shift: Shift
    outputs: int
    groups: int = 1
    stride: Pair = (1, 1)
    pieces: tuple[Piece, ...] = field(init=False, repr=False, compare=False)
    runs: tuple[Piece, ...] = field(init=False, repr=False, compare=False)
    even: tuple[Piece, ...] | None = field(init=False, repr=False, compare=False)
    only_rotates: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Cut once."""
        pieces = self.shift.cut(self.groups)
        is_even = len({piece.length for piece in pieces}) == 1
        ordered = tuple(sorted(pieces, key=lambda piece: piece.source))
        still = all(piece.offset == STILL for piece in pieces)
        found = {
            "pieces": pieces,
            "runs": _joined(pieces, self.shift.channels // self.groups),
            "even": ordered if is_even else None,
            "only_rotates": still and self.stride == (1, 1),
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)

    @property
    def translates_after(self) -> bool:
        """Whether translating what comes out moves fewer channels than what goes in."""
        moving = [piece for piece in self.pieces if piece.offset != STILL]
        out = len(moving) * self.outputs // self.groups
        return self.stride == (1, 1) and out <= sum(piece.length for piece in moving)

    def size(self, height: int, width: int) -> Pair:
        """Return the height and width of what comes out of a map of this size."""
        return -(-height // self.stride[0]), -(-width // self.stride[1])


@lru_cache(maxsize=1024)
def thinned(mixing: Mixing) -> tuple[tuple[Piece, ...], Mixing]:
    """Divide what strides into what can be done before the map is made, and what is left then.

    Returns:
        The runs of channels that move in one direction, within a group, as they lie; and the
        rotation and the convolution of the map that was translated and thinned out.
    """
    shift = mixing.shift
    still = Shift(shift.channels, 0, shift.directions, shift.boundary)
    turned = Shift(shift.channels, shift.distance)
    return still.cut(mixing.groups), Mixing(turned, mixing.outputs, mixing.groups)


def _joined(pieces: Sequence[Piece], width: int) -> tuple[Piece, ...]:
    """Join whole groups that move in one direction and lie together."""
    runs: list[Piece] = []
    for piece in pieces:
        last = runs[-1] if runs else None
        if (
            last is not None
            and last.length % width == 0 == piece.length % width
            and (last.source + last.length, last.offset) == (piece.source, piece.offset)
        ):
            runs[-1] = replace(last, length=last.length + piece.length)
        else:
            runs.append(piece)
    return tuple(runs)
