"""The objects that an annotation file lists, each checked against its image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from jobs.data.coco.faults import Fault, Findings
from jobs.data.coco.images import Image, Record
from jobs.data.coco.masks import Box, Mask, MaskError, read_mask

_ROUNDING_PX = 1.0
"""By how much boxes of MS-COCO itself may pass the edge."""
_LOOSE_IOU = 0.5
_ALIKE_IOU = 0.7
_SAME_IOU = 0.9
_MOST = 1e9
_AT_ONCE = 20_000


class _UnusableError(Exception):
    """An object is left out."""

    def __init__(self, fault: Fault, found: str) -> None:
        super().__init__(found)
        self.fault = fault


@dataclass(frozen=True)
class Surroundings:
    """What objects are checked against.

    Attributes:
        images: Those that can be used, by id.
        left_out: Ids of images that are listed and cannot be used.
        categories: Names by id.
        masks: Whether objects need a mask.
    """

    images: Mapping[int, Image]
    left_out: Set[int]
    categories: Mapping[int, str]
    masks: bool


def check_objects(
    listed: Iterable[Any],
    around: Surroundings,
    *,
    findings: Findings,
    told: Callable[[int], None],
) -> list[Record]:
    """Check every object that is listed.

    Args:
        listed: The annotations of an annotation file.
        around: What they are checked against.
        findings: Takes the faults.
        told: Called with the number of objects that are done, now and then.

    Returns:
        Those that can be used, mended where that loses nothing; the others' images may be among
        those left out.
    """
    kept: list[Record] = []
    seen: dict[int, Record] = {}
    for place, record in enumerate(listed):
        if place % _AT_ONCE == 0:
            told(place)
        try:
            if usable := _check(record, around, findings=findings):
                _refuse_twin(usable, seen)
                kept.append(usable)
        except _UnusableError as error:
            findings.add(error.fault, _example(record, str(error), around=around))
    return list(_numbered(kept, findings))


def _refuse_twin(record: Record, seen: dict[int, Record]) -> None:
    number = record.get("id")
    if type(number) is not int:
        return
    earlier = seen.setdefault(number, record)
    if earlier is not record and earlier == record:
        raise _UnusableError(Fault.OBJECT_TWICE, "")


def _check(record: Any, around: Surroundings, *, findings: Findings) -> Record | None:
    """Return an object as it can be used, None when its image is left out.

    Raises:
        _UnusableError: It cannot.
    """
    if not isinstance(record, dict):
        raise _UnusableError(Fault.OBJECT_RECORD, f"a {type(record).__name__}")
    number = record.get("image_id")
    image = around.images.get(number) if type(number) is int else None
    if image is None:
        if type(number) is int and number in around.left_out:
            return None
        raise _UnusableError(Fault.UNKNOWN_IMAGE, f"image {number!r:.80}")
    category = record.get("category_id")
    if type(category) is not int or category not in around.categories:
        raise _UnusableError(Fault.UNKNOWN_CATEGORY, f"category {category!r:.80}")
    crowd = record.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise _UnusableError(Fault.OBJECT_RECORD, f"iscrowd {crowd!r:.80}")

    def tell(fault: Fault, found: str) -> None:
        findings.add(fault, _example(record, found, around=around))

    box = _check_box(record.get("bbox"), image, tell=tell)
    mask = _check_mask(record, image, tell=tell) if around.masks else None
    if mask:
        _compare(box, mask.box, tell=tell)
    return {**record, **dict(_mended(record, mask, box=box, tell=tell))}


_Tell = Callable[[Fault, str], None]


def _check_box(bbox: Any, image: Image, *, tell: _Tell) -> Box:
    """Return the edges of an object's box."""
    if not _is_box(bbox):
        raise _UnusableError(Fault.BOX_MALFORMED, f"{bbox!r:.80}")
    left, top, width, height = bbox
    box = (left, top, left + width, top + height)
    right_px, bottom_px = image.size
    inside = _overlap(box, (0.0, 0.0, float(right_px), float(bottom_px)))
    where = f"{bbox} in {right_px} x {bottom_px}"
    if inside is None or (_area(box) > 0 and not _area(inside)):
        raise _UnusableError(Fault.BOX_OUTSIDE, where)
    beyond = max(-left, -top, box[2] - right_px, box[3] - bottom_px)
    if beyond > _ROUNDING_PX:
        tell(Fault.BOX_BEYOND, where)
    if min(width, height) < 1:
        tell(Fault.BOX_THIN, f"{bbox}")
    return box


def _is_box(bbox: Any) -> bool:
    return (
        isinstance(bbox, list)
        and len(bbox) == 4
        and all(map(_is_number, bbox))
        and min(bbox[2:]) >= 0
    )


def _is_number(value: Any) -> bool:
    return type(value) in {int, float} and -_MOST < value < _MOST  # false of what is not finite


def _check_mask(record: Record, image: Image, *, tell: _Tell) -> Mask:
    width, height = image.size
    try:
        mask = read_mask(record.get("segmentation"), width=width, height=height)
    except MaskError as error:
        raise _UnusableError(error.fault, str(error)) from error
    polygons = isinstance(mask.segmentation, list)
    if mask.slivers:
        tell(Fault.MASK_SLIVERS, f"{mask.slivers} of them")
    if polygons and record.get("iscrowd"):
        tell(Fault.CROWD_POLYGON, "")
    if polygons and not mask.pixels:
        tell(Fault.MASK_UNDER_PIXEL, f"box {record['bbox']}")
    return mask


def _compare(box: Box, around_mask: Box, *, tell: _Tell) -> None:
    """Look whether box and mask are of the same object."""
    if _thin(box) or _thin(around_mask):
        return
    iou = _iou(box, around_mask)
    found = f"box {_shown(box)}, mask {_shown(around_mask)} (edges)"
    as_corners = (box[0], box[1], box[2] - box[0], box[3] - box[1])
    if iou < _ALIKE_IOU and _iou(as_corners, around_mask) > _SAME_IOU:
        raise _UnusableError(Fault.BOX_CORNERS, found)
    if _overlap(box, around_mask) is None:
        raise _UnusableError(Fault.BOX_ELSEWHERE, found)
    if iou < _LOOSE_IOU:
        tell(Fault.BOX_LOOSE, found)


def _thin(box: Box) -> bool:
    return min(box[2] - box[0], box[3] - box[1]) < 1


def _overlap(one: Box, other: Box) -> Box | None:
    """Return what two boxes share, None when they do not touch."""
    left, top = max(one[0], other[0]), max(one[1], other[1])
    right, bottom = min(one[2], other[2]), min(one[3], other[3])
    return (left, top, right, bottom) if left <= right and top <= bottom else None


def _area(box: Box) -> float:
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)


def _iou(one: Box, other: Box) -> float:
    shared = _overlap(one, other)
    common = _area(shared) if shared else 0.0
    union = _area(one) + _area(other) - common
    return common / union if union > 0 else 0.0


def _shown(box: Box) -> str:
    return "[" + ", ".join(f"{edge:g}" for edge in box) + "]"


def _mended(
    record: Record, mask: Mask | None, *, box: Box, tell: _Tell
) -> Iterator[tuple[str, object]]:
    """Yield the fields that stand for what is missing or unsound."""
    if mask and mask.slivers:
        yield "segmentation", mask.segmentation
    if "iscrowd" not in record:
        tell(Fault.CROWD_UNSAID, "")
        yield "iscrowd", 0
    area: Any = record.get("area")
    if not _is_number(area) or area <= 0:
        covered = mask.pixels if mask else _area(box)
        if covered or area != 0:  # what covers no pixel may say so
            tell(Fault.AREA, f"{area!r}")
            yield "area", covered


def _numbered(records: list[Record], findings: Findings) -> Iterator[Record]:
    """Yield the objects with ids that scoring takes; it reads an id of 0 as no match."""
    seen: set[int] = set()
    unsound = 0
    for record in records:
        number = record.get("id")
        if type(number) is int and number > 0 and number not in seen:
            seen.add(number)
        else:
            unsound += 1
            findings.add(Fault.OBJECT_IDS, f"id {number!r}")
    for place, record in enumerate(records, start=1):
        yield {**record, "id": place} if unsound else record


def _example(record: Any, found: str, *, around: Surroundings) -> str:
    if not isinstance(record, dict):
        return found
    number = record.get("image_id")
    image = around.images.get(number) if type(number) is int else None
    name = image.name if image else f"image {number!r}"
    return f"{name}, object {record.get('id')}" + (f": {found}" if found else "")
