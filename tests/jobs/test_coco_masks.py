from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as reference

from jobs.data.coco.faults import Fault
from jobs.data.coco.masks import MaskError, read_mask
from tests.jobs.coco_files import HEIGHT, WIDTH, drawn, rectangle, runs

SQUARE = rectangle(10, 10, 8, 8)
SLIVER = [1.0, 1.0, 5.0, 5.0]


def fault_of(segmentation: Any) -> tuple[Fault, str]:
    with pytest.raises(MaskError) as caught:
        read_mask(segmentation, width=WIDTH, height=HEIGHT)
    return caught.value.fault, str(caught.value)


def encoded(seed: int, *, share: float) -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
    pixels = (np.random.RandomState(seed).rand(HEIGHT, WIDTH) < share).astype(np.uint8)
    found = reference.encode(np.asfortranarray(pixels))
    return {"size": [HEIGHT, WIDTH], "counts": found["counts"].decode()}, pixels


@pytest.mark.parametrize("share", [0.001, 0.02, 0.5, 0.98, 1.0])
def test_compressed_counts_are_those_of_the_pixels(share: float) -> None:
    segmentation, pixels = encoded(5, share=share)
    assert (drawn(segmentation) == pixels).all()


@pytest.mark.parametrize("compressed", [False, True])
def test_sound_run_lengths_have_their_pixels_and_box(compressed: bool) -> None:
    plain = {"size": [HEIGHT, WIDTH], "counts": runs(20, 10, 16, 8)}
    text = reference.frPyObjects(plain, HEIGHT, WIDTH)["counts"].decode()
    segmentation = {**plain, "counts": text} if compressed else plain
    mask = read_mask(segmentation, width=WIDTH, height=HEIGHT)
    assert (mask.pixels, mask.box) == (128, (20, 10, 36, 18))


def test_sound_polygons_have_their_pixels_and_the_box_of_their_points() -> None:
    mask = read_mask([SQUARE, rectangle(30, 20, 4, 4)], width=WIDTH, height=HEIGHT)
    assert (mask.pixels, mask.box) == (64 + 16, (10, 10, 34, 24))


def test_a_part_of_two_points_is_left_out_and_the_others_stay() -> None:
    mask = read_mask([SLIVER, SQUARE], width=WIDTH, height=HEIGHT)
    assert (mask.segmentation, mask.slivers) == ([SQUARE], 1)


@pytest.mark.parametrize(
    ("segmentation", "fault", "found"),
    [
        (None, Fault.MASK_MISSING, "no segmentation"),
        ([], Fault.MASK_EMPTY, "no polygon"),
        ([[]], Fault.MASK_MALFORMED, "0 points"),
        ([SLIVER], Fault.MASK_MALFORMED, "a polygon of 2 points"),
        ([SQUARE[:-1]], Fault.MASK_MALFORMED, "7 numbers"),
        ([[*SQUARE[:-1], float("nan")]], Fault.MASK_MALFORMED, "else than numbers"),
        ([[*SQUARE[:-1], float("inf")]], Fault.MASK_MALFORMED, "else than numbers"),
        ([[*SQUARE[:-1], 10**400]], Fault.MASK_MALFORMED, "else than numbers"),
        ([[*SQUARE[:-1], "5"]], Fault.MASK_MALFORMED, "else than numbers"),
        (SQUARE, Fault.MASK_MALFORMED, "else than numbers"),
        ("PPYo1", Fault.MASK_MALFORMED, "a str"),
        ([[*SQUARE[:-1], 4e9]], Fault.MASK_MALFORMED, "reaches from y = 10 to 4e\\+09"),
    ],
)
def test_what_is_no_polygon_is_named(segmentation: Any, fault: Fault, found: str) -> None:
    kind, message = fault_of(segmentation)
    assert kind is fault
    assert found.replace("\\", "") in message


@pytest.mark.parametrize(
    ("changed", "fault", "found"),
    [
        ({"size": [WIDTH, HEIGHT]}, Fault.MASK_MALFORMED, "its size is [64, 48]"),
        ({"size": [48.0, 64.0]}, Fault.MASK_MALFORMED, "its size is [48.0, 64.0]"),
        ({"size": None}, Fault.MASK_MALFORMED, "its size is None"),
        ({"counts": None}, Fault.MASK_MALFORMED, "no run lengths"),
        ({"counts": [10, -10, 3072]}, Fault.MASK_MALFORMED, "no run lengths"),
        ({"counts": [1.5, 3070.5]}, Fault.MASK_MALFORMED, "no run lengths"),
        (
            {"counts": [10, 20]},
            Fault.MASK_MALFORMED,
            "add up to 30 pixels, and the image has 3,072",
        ),
        ({"counts": [3072]}, Fault.MASK_EMPTY, "cover no pixel"),
        ({"counts": [3072, 0]}, Fault.MASK_EMPTY, "cover no pixel"),
        ({"counts": "P~"}, Fault.MASK_MALFORMED, "character '~'"),
        ({"counts": "PP"}, Fault.MASK_MALFORMED, "within a number"),
        ({"counts": "5" * 3000}, Fault.MASK_MALFORMED, "its counts add up to"),
    ],
)
def test_run_lengths_that_do_not_fit_the_image_are_named(
    changed: dict[str, Any], fault: Fault, found: str
) -> None:
    sound = {"size": [HEIGHT, WIDTH], "counts": runs(20, 10, 16, 8)}
    kind, message = fault_of({**sound, **changed})
    assert kind is fault
    assert found in message


def test_spoiled_compressed_counts_never_reach_the_decoder_unchecked() -> None:
    draw = np.random.RandomState(0)
    segmentation, _ = encoded(6, share=0.1)
    refused = 0
    for _ in range(300):
        letters = list(segmentation["counts"])
        letters[draw.randint(len(letters))] = chr(draw.randint(40, 120))
        spoiled = {**segmentation, "counts": "".join(letters)}
        try:
            mask = read_mask(spoiled, width=WIDTH, height=HEIGHT)
        except MaskError:
            refused += 1
        else:
            assert 0 < mask.pixels <= WIDTH * HEIGHT
    assert refused > 200
