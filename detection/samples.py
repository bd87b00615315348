"""Pictures of what a run found on some images, ground truth beside; and the list of them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from PIL import Image

from detection.annotations import read_annotations
from detection.drawing import side_by_side
from detection.errors import DetectionError
from detection.found import Found
from detection.sample import FOLDER, LIST, Sample, write_list
from detection.things import LEAST_SCORE, things_annotated, things_found

COUNT: Final = 16
"""Pictures of a run."""


def choose_images(truth: Mapping[str, Any], *, count: int = COUNT) -> list[int]:
    """Return the images to draw: some with objects, by a draw that only their numbers decide.

    Runs of one data set show the same images, so that they can be compared; leaving an image out
    of the set changes no other choice.
    """
    occupied = {entry["image_id"] for entry in truth["annotations"] if not entry["iscrowd"]}
    return sorted(occupied, key=_lot)[:count]


def _lot(image_id: int) -> bytes:
    return hashlib.sha256(str(image_id).encode()).digest()


def write_samples(
    folder: Path,
    *,
    annotation_file: Path,
    images: Path,
    found: Iterable[Found],
    category_ids: Sequence[int],
    count: int = COUNT,
    least_score: float = LEAST_SCORE,
) -> list[str]:
    """Draw what was found on some images of a split.

    Args:
        folder: Gets the pictures and the list.
        annotation_file: Of the split.
        images: Folder of its images.
        found: On all its images, or on those of `choose_images`.
        category_ids: The annotation file's number of each label.
        count: How many images.
        least_score: Less certain findings are not drawn.

    Returns:
        The names below `folder` that were written, the list last.

    Raises:
        DetectionError: The annotations or an image cannot be read.
    """
    truth = read_annotations(annotation_file)
    chosen = choose_images(truth, count=count)
    by_image = {one.image_id: one for one in found if one.image_id in set(chosen)}
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    artist = _Artist(truth, images, tuple(category_ids), least_score)
    samples = []
    for number, image_id in enumerate(chosen):
        file = f"{FOLDER}/{number:03d}.png"
        sample, picture = artist.draw(image_id, found=by_image.get(image_id), file=file)
        picture.save(folder / file)
        samples.append(sample)
    (folder / LIST).write_text(write_list(samples))
    return [*(sample.file for sample in samples), LIST]


class _Artist:
    """Draws images of one split."""

    def __init__(
        self,
        truth: Mapping[str, Any],
        images: Path,
        category_ids: tuple[int, ...],
        least_score: float,
    ) -> None:
        self._images = images
        self._category_ids = category_ids
        self._least_score = least_score
        names = {category["id"]: str(category["name"]) for category in truth["categories"]}
        self._categories = [names[number] for number in category_ids]
        self._image_of = {image["id"]: image for image in truth["images"]}
        self._objects_of: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
        for entry in truth["annotations"]:
            self._objects_of[entry["image_id"]].append(entry)

    def draw(self, image_id: int, *, found: Found | None, file: str) -> tuple[Sample, Image.Image]:
        about = self._image_of[image_id]
        name = str(about["file_name"])
        left = things_found(found, least_score=self._least_score) if found else []
        right = things_annotated(
            self._objects_of[image_id],
            category_ids=self._category_ids,
            height=about["height"],
            width=about["width"],
        )
        picture = side_by_side(
            _read_image(self._images / name),
            found=left,
            truth=right,
            categories=self._categories,
            caption=f"{name} \u00b7 image {image_id}",
            least_score=self._least_score,
        )
        objects = sum(not thing.is_crowd for thing in right)
        return Sample(file, image_id, name, len(left), objects), picture


def _read_image(file: Path) -> Image.Image:
    try:
        with Image.open(file) as image:
            return image.convert("RGB")
    # a broken file makes decoders raise nearly anything
    except Exception as error:
        raise DetectionError(f"image {file} cannot be drawn on: {error}") from error
