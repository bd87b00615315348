"""Writes names at things, where there is room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from PIL import ImageDraw, ImageFont

from detection.painting import Colour, colour
from detection.things import Box, Thing

FONT_PX = 13

_PADDING_PX = 3
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)


@cache
def font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font that Pillow carries."""
    return ImageFont.load_default(FONT_PX)


def write_names(
    pen: ImageDraw.ImageDraw,
    placed: Sequence[tuple[Thing, Box]],
    *,
    categories: Sequence[str],
    size: tuple[int, int],
) -> None:
    """Write what each thing is; one that finds no room is left to its colour.

    Args:
        pen: Of the image.
        placed: Things and their boxes in pixels of the image; the first find room first.
        categories: Name of each label.
        size: Width and height of the image.
    """
    taken: list[Box] = []
    for thing, box in placed:
        text = _text(thing, categories)
        wide, high = pen.textlength(text, font=font()) + 2 * _PADDING_PX, FONT_PX + _PADDING_PX
        spots = _spots(box, wide=wide, high=high)
        spot = next((spot for spot in spots if _is_free(spot, size=size, taken=taken)), None)
        if spot is None:
            continue
        taken.append(spot)
        tint = colour(thing.label)
        pen.rectangle(spot, fill=tint)
        middle = ((spot[0] + spot[2]) / 2, (spot[1] + spot[3]) / 2)
        pen.text(middle, text, fill=_ink(tint), font=font(), anchor="mm")


def _text(thing: Thing, categories: Sequence[str]) -> str:
    name = categories[thing.label]
    if thing.is_crowd:
        return f"crowd: {name}"
    return name if thing.score is None else f"{name} {thing.score:.2f}"


def _ink(paper: Colour) -> Colour:
    """Return black or white, whichever reads better on a colour (luma of BT.601)."""
    red, green, blue = paper
    return _BLACK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else _WHITE


def _spots(box: Box, *, wide: float, high: float) -> Iterator[Box]:
    """Yield where a label may stand, the best first: above, inside, below; left, then right."""
    left, top, right, bottom = box
    for start in (left, right - wide):
        for upper in (top - high, top, bottom, bottom - high):
            yield (start, upper, start + wide, upper + high)


def _is_free(spot: Box, *, size: tuple[int, int], taken: Sequence[Box]) -> bool:
    left, top, right, bottom = spot
    inside = left >= 0 and top >= 0 and right <= size[0] and bottom <= size[1]
    return inside and not any(
        left < other[2] and other[0] < right and top < other[3] and other[1] < bottom
        for other in taken
    )
