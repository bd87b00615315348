"""Images and objects in COCO's format, as mmdet reads them.

What a pipeline draws comes from the generators of Python and NumPy, so that an image taken from
the same state of both is the same, whichever process takes it.
"""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2

from detection import openmmlab as openmmlab  # before mmdet
from detection.errors import ConfigError
from detection.settings import dataset_settings

from mmdet.datasets import CocoDataset  # isort: skip
from mmdet.datasets.api_wrappers import COCO  # isort: skip
from mmengine.dataset import pseudo_collate  # isort: skip

# images are loaded by several processes at once, or beside training: threads of OpenCV's own, one
# a core, would take the cores of other runs
cv2.setNumThreads(0)


class _Annotations(COCO):
    """The parsed file, read without messages, with categories in the order they are asked for."""

    def __init__(self, annotation_file: str) -> None:
        super().__init__()
        # bytes, of which JSON tells the encoding; pycocotools takes that of the locale
        self.dataset = json.loads(Path(annotation_file).read_bytes())
        with contextlib.redirect_stdout(io.StringIO()):
            self.createIndex()
        self.img_ann_map, self.cat_img_map = self.imgToAnns, self.catToImgs

    def get_cat_ids(self, cat_names: Sequence[str] = (), **_: Any) -> list[int]:
        """Return the id of each name.

        Raises:
            ConfigError: The file has no category of that name.
        """
        ids = {category["name"]: category["id"] for category in self.dataset["categories"]}
        unknown = [name for name in cat_names if name not in ids]
        if unknown:
            raise ConfigError(
                f"no categories {unknown[:5]} in the annotations; found {list(ids)[:5]} and so on"
            )
        return [ids[name] for name in cat_names]


class CocoImages(CocoDataset):
    """mmdet's data set, whose labels count the categories in the order given to it.

    It can be sent to a fresh process: what names it imports this module first.
    """

    COCOAPI = _Annotations

    def filter_data(self) -> list[dict[str, Any]]:
        """Leave out what cannot be learnt from.

        Raises:
            ConfigError: Nothing is left.
        """
        left: list[dict[str, Any]] = super().filter_data()
        if not left:
            raise ConfigError(
                f"no image of {self.ann_file} can be used: in training one needs an object and "
                f"sides of {(self.filter_cfg or {}).get('min_size', 0)} pixels at least"
            )
        return left

    def prepare_data(self, idx: int) -> Any:
        """Read an image and its objects and pass them through the pipeline."""
        with warnings.catch_warnings():
            # pycocotools gives its masks to NumPy 2 in the way that NumPy 1 had
            warnings.filterwarnings(
                "ignore",
                message="__array__ implementation doesn't accept a copy keyword",
                category=DeprecationWarning,
            )
            return super().prepare_data(idx)


def dataset(
    annotation_file: Path,
    image_folder: Path,
    *,
    classes: Sequence[str],
    pipeline: Sequence[Mapping[str, Any]],
    training: bool,
    min_side: int | None = None,
) -> CocoImages:
    """Read annotations; images are read one by one as they are asked for.

    Args:
        annotation_file: A file in the format of COCO 2017's instances.
        image_folder: What its file names are relative to.
        classes: Names of the categories; label 0 is the first.
        pipeline: What `train_pipeline` or `evaluation_pipeline` returned.
        training: Whether images without a usable object are left out, and those that are too
            small; crowds are then marked to be ignored. In evaluation all images stay.
        min_side: Images with a side below this, in pixels, are left out of training; None: 32.

    Returns:
        ``found[i]`` is ``{"inputs": (3, H, W) uint8 in blue, green, red, "data_samples": ...}``.

    Raises:
        ConfigError: The file lacks one of the categories, or all images are left out.
    """
    settings = dataset_settings(
        annotation_file=str(annotation_file),
        image_folder=str(image_folder),
        classes=classes,
        pipeline=pipeline,
        training=training,
        min_side=min_side,
    )
    del settings["type"]
    return CocoImages(**settings)


def collate(samples: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Put samples of a data set together as a detector's ``data_preprocessor`` takes them."""
    batch: dict[str, list[Any]] = pseudo_collate(samples)
    return batch
