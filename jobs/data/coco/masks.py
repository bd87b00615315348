"""Whether the mask of an object is sound: polygons, and run-length encodings of both kinds.

pycocotools reads a mask without looking: a compressed encoding that is too long writes past the end
of its memory, and four numbers in the place of a polygon are taken for a box. So counts and points
are checked here before it sees them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jobs.data.coco.faults import Fault

Box = tuple[float, float, float, float]
"""Left, upper, right and lower edge in pixels."""

_LEAST = 6
"""Numbers of a polygon of three points."""


class MaskError(Exception):
    """A mask cannot be used.

    Attributes:
        fault: Which kind of fault it has.
    """

    def __init__(self, fault: Fault, found: str) -> None:
        super().__init__(found)
        self.fault = fault


@dataclass(frozen=True)
class Mask:
    """A sound mask.

    Attributes:
        segmentation: As it stands in an annotation file, without slivers.
        width: Of its image, in pixels.
        height: Likewise.
        slivers: Parts of fewer than three points that were left out.
    """

    segmentation: list[list[float]] | Mapping[str, Any]
    width: int
    height: int
    slivers: int = 0

    @cached_property
    def encoded(self) -> Mapping[str, Any]:
        """The compressed run-length encoding."""
        from pycocotools import mask

        segmentation = self.segmentation
        if isinstance(segmentation, list):
            encoded = mask.merge(mask.frPyObjects(segmentation, self.height, self.width))
        elif isinstance(segmentation["counts"], list):
            encoded = mask.frPyObjects(segmentation, self.height, self.width)
        else:
            encoded = segmentation
        return dict(encoded)

    @property
    def pixels(self) -> int:
        """How many pixels it covers."""
        from pycocotools import mask

        return int(mask.area(self.encoded))

    @property
    def box(self) -> Box:
        """The smallest box around it: of a polygon's points, or of an encoding's pixels."""
        if isinstance(self.segmentation, list):
            xs = [x for part in self.segmentation for x in part[::2]]
            ys = [y for part in self.segmentation for y in part[1::2]]
            return min(xs), min(ys), max(xs), max(ys)
        from pycocotools import mask

        x, y, width, height = map(float, mask.toBbox(self.encoded))
        return x, y, x + width, y + height


def read_mask(segmentation: Any, *, width: int, height: int) -> Mask:
    """Check a mask.

    Args:
        segmentation: A list of polygons ``[x, y, x, y, ...]``, or ``{"size": [height, width],
            "counts": ...}`` with counts as a list or as compressed text.
        width: Of the image, in pixels.
        height: Likewise.

    Raises:
        MaskError: There is none, or it is malformed, or it is empty.
    """
    if segmentation is None:
        raise MaskError(Fault.MASK_MISSING, "it has no segmentation")
    if isinstance(segmentation, dict):
        _check_runs(segmentation, width=width, height=height)
        return Mask(segmentation, width=width, height=height)
    if not isinstance(segmentation, list):
        raise MaskError(
            Fault.MASK_MALFORMED,
            f"neither polygons nor run lengths, but a {type(segmentation).__name__}",
        )
    if not segmentation:
        raise MaskError(Fault.MASK_EMPTY, "it has no polygon")
    return _polygons(segmentation, width=width, height=height)


def read_counts(text: str) -> list[int]:
    """Return the run lengths that a compressed encoding stands for.

    Each is written in groups of five bits, the lowest first, as characters from ``0`` on; the sixth
    bit says that a group follows, the highest of the last group is the sign. From the fourth on,
    it is the difference to the length two before.

    Raises:
        ValueError: The text ends within a number, or holds other characters.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64:
            raise ValueError(f"character {character!r}")
        value |= (group & 0x1F) << shift
        shift += 5
        if group & 0x20:
            continue
        if group & 0x10:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("it ends within a number")
    return counts


def _polygons(parts: Sequence[Any], *, width: int, height: int) -> Mask:
    kept = []
    for part in parts:
        if not _is_numbers(part):
            raise MaskError(Fault.MASK_MALFORMED, "a polygon holds something else than numbers")
        if len(part) % 2:
            raise MaskError(
                Fault.MASK_MALFORMED, f"a polygon of {len(part)} numbers, which are no pairs"
            )
        if len(part) >= _LEAST:
            _check_reach(part, width=width, height=height)
            kept.append(part)
    if not kept:
        most = max(len(part) // 2 for part in parts)
        raise MaskError(Fault.MASK_MALFORMED, f"a polygon of {most} points; it needs 3")
    return Mask(kept, width=width, height=height, slivers=len(parts) - len(kept))


def _is_numbers(part: Any) -> bool:
    try:
        return isinstance(part, list) and all(map(math.isfinite, part))
    except (TypeError, OverflowError):
        return False


def _check_reach(part: Sequence[float], *, width: int, height: int) -> None:
    """Refuse points so far outside that to draw the lines to them would take for ever."""
    for axis, numbers, side in (("x", part[::2], width), ("y", part[1::2], height)):
        low, high = min(numbers), max(numbers)
        if low < -side or high > 2 * side:
            raise MaskError(
                Fault.MASK_MALFORMED,
                f"a polygon reaches from {axis} = {low:g} to {high:g}, and the image from 0 to "
                f"{side}",
            )


def _check_runs(segmentation: Mapping[str, Any], *, width: int, height: int) -> None:
    counts = segmentation.get("counts")
    size = segmentation.get("size")
    if size != [height, width] or not all(type(side) is int for side in size):
        raise MaskError(
            Fault.MASK_MALFORMED,
            f"its size is {size!r:.40}, and the image's [height, width] is [{height}, {width}]",
        )
    if isinstance(counts, str):
        try:
            counts = read_counts(counts)
        except ValueError as error:
            raise MaskError(
                Fault.MASK_MALFORMED, f"its counts are no compressed run lengths: {error}"
            ) from error
    if not isinstance(counts, list) or not all(type(n) is int and n >= 0 for n in counts):
        raise MaskError(Fault.MASK_MALFORMED, "its counts are no run lengths")
    if sum(counts) != width * height:
        raise MaskError(
            Fault.MASK_MALFORMED,
            f"its counts add up to {sum(counts):,} pixels, and the image has {width * height:,}",
        )
    if not sum(counts[1::2]):
        raise MaskError(Fault.MASK_EMPTY, "its run lengths cover no pixel")
