"""Paints things on an image: tinted masks with their edges, boxes; crowds hatched and dashed."""

from __future__ import annotations

import colorsys
import math
from typing import TYPE_CHECKING

import numpy as np
from faster_coco_eval.core import mask as rle
from PIL import Image, ImageDraw

from detection.things import Box, Thing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

_TINT, _HATCHED = 0.35, 0.6
_LINE_PX, _STRIPE_PX, _DASH_PX = 2, 4, 8
_GOLDEN = (math.sqrt(5) - 1) / 2
_SHADES = ((0.85, 0.98), (0.55, 1.0), (0.9, 0.72))
"""Saturation and value."""

Colour = tuple[int, int, int]


def colour(label: int) -> Colour:
    """Return the colour of a category: the same wherever it is drawn, far from its neighbours'."""
    saturation, value = _SHADES[label % len(_SHADES)]
    red, green, blue = colorsys.hsv_to_rgb(label * _GOLDEN % 1, saturation, value)
    return (round(255 * red), round(255 * green), round(255 * blue))


def paint_mask(pixels: NDArray[np.uint8], thing: Thing) -> None:
    """Lay the colour of a thing over its mask, and draw the mask's edge.

    Args:
        pixels: (H, W, 3), changed in place; the mask is brought to this size.
        thing: One with a mask.
    """
    mask = _resized(rle.decode(dict(thing.mask or {})).astype(bool), pixels.shape[:2])
    if not mask.any():
        return
    part = _around(mask)
    mask, below = mask[part], pixels[part]
    strength = np.where(mask, _TINT, 0.0)
    if thing.is_crowd:
        rows, columns = np.indices(mask.shape)
        stripes = (rows + columns) // _STRIPE_PX % 2 == 0
        strength = np.where(mask & stripes, _HATCHED, 0.0)
    strength[_edge(mask)] = 1.0
    tint = np.array(colour(thing.label), np.float64)
    below[...] = (below + strength[..., None] * (tint - below)).round().astype(np.uint8)


def _resized(mask: Mask, size: tuple[int, ...]) -> Mask:
    high, wide = size
    resized = Image.fromarray(mask).resize((wide, high), Image.Resampling.NEAREST)
    return np.array(resized, dtype=bool)


def _around(mask: Mask) -> tuple[slice, slice]:
    """Return the rows and columns that hold a mask."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _edge(mask: Mask) -> Mask:
    """Return the outermost pixels of a mask."""
    inner = np.pad(mask, _LINE_PX)
    for _ in range(_LINE_PX):
        inner = (
            inner
            & np.roll(inner, 1, axis=0)
            & np.roll(inner, -1, axis=0)
            & np.roll(inner, 1, axis=1)
            & np.roll(inner, -1, axis=1)
        )
    cut = slice(_LINE_PX, -_LINE_PX)
    edge: Mask = mask & ~inner[cut, cut]
    return edge


def paint_box(pen: ImageDraw.ImageDraw, thing: Thing, *, box: Box) -> None:
    """Draw the box of a thing.

    Args:
        pen: Of the image.
        thing: Whose colour it has; that of a crowd is dashed.
        box: In pixels of the image that is drawn.
    """
    left, top, right, bottom = box
    right, bottom = max(right - 1, left), max(bottom - 1, top)
    if not thing.is_crowd:
        # where there is an edge of the mask, the box need not stand out
        width = _LINE_PX if thing.mask is None else 1
        pen.rectangle((left, top, right, bottom), outline=colour(thing.label), width=width)
        return
    for begin, end in (
        ((left, top), (right, top)),
        ((left, bottom), (right, bottom)),
        ((left, top), (left, bottom)),
        ((right, top), (right, bottom)),
    ):
        _dash(pen, begin, end, fill=colour(thing.label))


def _dash(
    pen: ImageDraw.ImageDraw,
    begin: tuple[float, float],
    end: tuple[float, float],
    *,
    fill: Colour,
) -> None:
    length = math.dist(begin, end)
    for at in np.arange(0, length, 2 * _DASH_PX):
        ends = (at / length, min(at + _DASH_PX, length) / length)
        points = [
            tuple(a + share * (b - a) for a, b in zip(begin, end, strict=True)) for share in ends
        ]
        pen.line([(x, y) for x, y in points], fill=fill, width=_LINE_PX)
