"""Draws what a detector found on an image beside what is there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from detection.labelling import font, write_names
from detection.painting import paint_box, paint_mask
from detection.sample import GAP_PX
from detection.things import LEAST_SCORE, Box, Thing

_LEAST_PX, _MOST_PX = 640, 800
"""Longer side of a drawn image: smaller ones are enlarged by a whole number, larger ones shrunk."""
_STRIP_PX, _INDENT_PX = 26, 6
_PAPER, _INK = (28, 28, 30), (240, 240, 240)


def side_by_side(
    image: Image.Image,
    *,
    found: Sequence[Thing],
    truth: Sequence[Thing],
    categories: Sequence[str],
    caption: str,
    least_score: float = LEAST_SCORE,
) -> Image.Image:
    """Draw what was found on the left and what is there on the right.

    Args:
        image: Of any size; small ones are enlarged.
        found: As `things_found` returns it.
        truth: As `things_annotated` returns it.
        categories: Name of each label.
        caption: Stands below.
        least_score: With which things were found; it is written above them.

    Returns:
        A picture whose left and right half are of one size; see `detection.sample.halves`.
    """
    panels = [draw(image, things, categories=categories) for things in (found, truth)]
    titles = (f"Found: {len(found) or 'none'} (score from {least_score:g})", _truth_title(truth))
    wide, high = panels[0].size
    drawn = Image.new("RGB", (2 * wide + GAP_PX, high + 2 * _STRIP_PX), _PAPER)
    pen = ImageDraw.Draw(drawn)
    for place, (panel, title) in enumerate(zip(panels, titles, strict=True)):
        left = place * (wide + GAP_PX)
        drawn.paste(panel, (left, _STRIP_PX))
        _write(pen, title, left=left, top=0, width=wide)
    _write(pen, caption, left=0, top=high + _STRIP_PX, width=wide)
    return drawn


def _truth_title(truth: Sequence[Thing]) -> str:
    crowds = sum(thing.is_crowd for thing in truth)
    text = f"Ground truth: {len(truth) - crowds}"
    return f"{text}, and {crowds} crowd{'s' if crowds > 1 else ''}" if crowds else text


def draw(image: Image.Image, things: Sequence[Thing], *, categories: Sequence[str]) -> Image.Image:
    """Draw boxes, translucent masks and labels on an image, the larger things first.

    Args:
        image: Of any size; small ones are enlarged, large ones shrunk.
        things: What to draw.
        categories: Name of each label.
    """
    scale = _scale(image)
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    how = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    pixels = np.array(image.convert("RGB").resize(size, how))
    ordered = sorted(things, key=lambda thing: _area(thing.box), reverse=True)
    for thing in ordered:
        if thing.mask is not None:
            paint_mask(pixels, thing)
    drawn = Image.fromarray(pixels)
    pen = ImageDraw.Draw(drawn)
    placed = [(thing, _scaled(thing.box, scale)) for thing in ordered]
    for thing, box in placed:
        paint_box(pen, thing, box=box)
    # the smaller ones have less room
    write_names(pen, placed[::-1], categories=categories, size=size)
    return drawn


def _scale(image: Image.Image) -> float:
    longer = max(image.size)
    if longer > _MOST_PX:
        return _MOST_PX / longer
    return max(_LEAST_PX // longer, 1)


def _scaled(box: Box, scale: float) -> Box:
    left, top, right, bottom = box
    return (scale * left, scale * top, scale * right, scale * bottom)


def _area(box: Box) -> float:
    left, top, right, bottom = box
    return (right - left) * (bottom - top)


def _write(pen: ImageDraw.ImageDraw, text: str, *, left: int, top: int, width: int) -> None:
    """Write a line into a strip, cut off at its end if it is too long."""
    room = width - 2 * _INDENT_PX
    while pen.textlength(text, font=font()) > room and len(text) > 1:
        text = f"{text[:-2]}\u2026"
    middle = top + _STRIP_PX / 2
    pen.text((left + _INDENT_PX, middle), text, fill=_INK, font=font(), anchor="lm")
