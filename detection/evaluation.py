"""COCO's scores of what a detector found: boxes and masks, in all and by category.

The evaluator is faster-coco-eval, whose figures are those of pycocotools. As there, a crowd may be
found any number of times and counts neither way, at most a hundred findings of a category count on
an image, and a size without objects has no score. Where masks are scored, sizes are those of masks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from faster_coco_eval.core.coco import COCO
from faster_coco_eval.core.faster_eval_api import COCOeval_faster

from detection.annotations import read_annotations
from detection.errors import DetectionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind = Literal["bbox", "segm"]
BOX: Final[Kind] = "bbox"
MASK: Final[Kind] = "segm"

_ALL, _MOST, _IOU50 = 0, -1, 0
"""Places in the evaluator's tables: every size, a hundred findings, overlap of a half."""


@dataclass(frozen=True)
class Precision:
    """Average precision and recall in percent; None where there are no objects of that size.

    Attributes:
        ap: Mean over overlaps from 0.5 to 0.95 and over the categories.
        ap50, ap75: At an overlap of 0.5 and of 0.75.
        ap_small, ap_medium, ap_large: Of objects below 32 x 32 pixels, up to 96 x 96, and above.
        ar1, ar10, ar100: Recall with so many findings an image and category.
        ar_small, ar_medium, ar_large: Recall with a hundred, by size.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar1: float | None
    ar10: float | None
    ar100: float | None
    ar_small: float | None
    ar_medium: float | None
    ar_large: float | None


@dataclass(frozen=True)
class CategoryScores:
    """How well one category is found; in percent, None where it has no objects.

    Attributes:
        category: Its name.
        images: With at least one object of it, crowds apart.
        objects: Of it, crowds apart.
        box_ap_pct, box_ap50_pct: Of boxes.
        mask_ap_pct, mask_ap50_pct: Of masks; None without masks.
    """

    category: str
    images: int
    objects: int
    box_ap_pct: float | None
    box_ap50_pct: float | None
    mask_ap_pct: float | None = None
    mask_ap50_pct: float | None = None


@dataclass(frozen=True)
class Scores:
    """What an evaluation says.

    Attributes:
        box: Of boxes.
        mask: Of masks, or None.
        categories: In the order of the annotation file.
    """

    box: Precision
    mask: Precision | None
    categories: tuple[CategoryScores, ...]

    def named(self) -> dict[str, float]:
        """Return the precisions that are defined: ``box_ap_pct``, ``mask_ap_small_pct``, ..."""
        return self._named("ap")

    def recalls(self) -> dict[str, float]:
        """Return the recalls that are defined: ``box_ar100_pct``, ``mask_ar_small_pct``, ..."""
        return self._named("ar")

    def _named(self, begin: Literal["ap", "ar"]) -> dict[str, float]:
        parts = {"box": self.box} | ({"mask": self.mask} if self.mask else {})
        pairs = {
            f"{part}_{field.name}_pct": getattr(precision, field.name)
            for part, precision in parts.items()
            for field in fields(Precision)
            if field.name.startswith(begin)
        }
        return {name: value for name, value in pairs.items() if value is not None}


@dataclass(frozen=True)
class _Tables:
    """What the evaluator counted, -1 where there is nothing to count.

    Attributes:
        precision: (overlaps, recalls, categories, sizes, limits).
        recall: (overlaps, categories, sizes, limits).
        stats: The twelve figures that it sums up.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    stats: tuple[float, ...]

    @property
    def summary(self) -> Precision:
        return Precision(*map(_pct, self.stats))

    def of_category(self, place: int) -> tuple[float | None, float | None]:
        """Return AP and AP50 of a category."""
        at = self.precision[:, :, place, _ALL, _MOST]
        return _mean_pct(at), _mean_pct(at[_IOU50])


def evaluate(
    annotation_file: Path,
    results: Sequence[Mapping[str, Any]],
    *,
    masks: bool,
    image_ids: Collection[int] | None = None,
    threads: int = 1,
) -> Scores:
    """Score findings against an annotation file.

    Args:
        annotation_file: In COCO's format.
        results: As `results` returns them; none is legal, and scores nought.
        masks: Whether masks are scored, too; all findings have one, then.
        image_ids: Images to score on; None: all of the file. Findings elsewhere do not count.
        threads: For the overlaps of masks.

    Raises:
        DetectionError: The file cannot be read, or findings are on images that it does not know.
    """
    truth = read_annotations(annotation_file)
    chosen = sorted({image["id"] for image in truth["images"]} if image_ids is None else image_ids)
    _require_known(truth, image_ids=chosen, results=results, annotation_file=annotation_file)
    inside = set(chosen)
    wanted = [entry for entry in results if entry["image_id"] in inside]
    tables = {
        kind: _count(truth, wanted, kind=kind, image_ids=chosen, threads=threads)
        for kind in ((BOX, MASK) if masks else (BOX,))
    }
    box, mask = tables[BOX], tables.get(MASK)
    return Scores(
        box=box.summary,
        mask=mask.summary if mask else None,
        categories=tuple(_by_category(truth, box=box, mask=mask, image_ids=chosen)),
    )


def _require_known(
    truth: Mapping[str, Any],
    *,
    image_ids: Collection[int],
    results: Sequence[Mapping[str, Any]],
    annotation_file: Path,
) -> None:
    known = {image["id"] for image in truth["images"]}
    wanted = {*image_ids, *(entry["image_id"] for entry in results)}
    if strange := sorted(wanted - known):
        few = ", ".join(map(str, strange[:5]))
        raise DetectionError(
            f"{len(strange)} images are not in {annotation_file}, such as {few}; score findings "
            "against the annotations of the split that they were made on"
        )


def _count(
    truth: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    *,
    kind: Kind,
    image_ids: Sequence[int],
    threads: int,
) -> _Tables:
    annotated = COCO({**truth}, print_function=_say_nothing)
    # fresh entries, for the evaluator writes into them; without the boxes, sizes are the masks'
    part = "segmentation" if kind == MASK else "bbox"
    names = ("image_id", "category_id", "score", part)
    detected = annotated.loadRes([{name: entry[name] for name in names} for entry in results])
    evaluator = COCOeval_faster(
        annotated, detected, kind, print_function=_say_nothing, rle_iou_max_workers=threads
    )
    evaluator.params.imgIds = image_ids
    evaluator.params.catIds = [category["id"] for category in truth["categories"]]
    evaluator.run()
    precision, recall = (np.asarray(evaluator.eval[name]) for name in ("precision", "recall"))
    return _Tables(precision, recall, tuple(float(figure) for figure in evaluator.stats))


def _say_nothing(*said: object) -> None:
    """The evaluator prints tables otherwise."""


def _by_category(
    truth: Mapping[str, Any], *, box: _Tables, mask: _Tables | None, image_ids: Sequence[int]
) -> Iterator[CategoryScores]:
    inside = set(image_ids)
    where: dict[int, list[int]] = {category["id"]: [] for category in truth["categories"]}
    for entry in truth["annotations"]:
        if entry["image_id"] in inside and not entry["iscrowd"]:
            where[entry["category_id"]].append(entry["image_id"])
    place_of = {number: place for place, number in enumerate(sorted(where))}
    for category in truth["categories"]:
        images, place = where[category["id"]], place_of[category["id"]]
        yield CategoryScores(
            str(category["name"]),
            len(set(images)),
            len(images),
            *box.of_category(place),
            *(mask.of_category(place) if mask else ()),
        )


def _mean_pct(values: NDArray[np.float64]) -> float | None:
    defined = values[values > -1]
    return _pct(float(defined.mean())) if defined.size else None


def _pct(share: float) -> float | None:
    """Return percent; the evaluator says -1 where there is nothing to score."""
    return None if share < 0 else 100 * share
