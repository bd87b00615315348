"""Settings of detectors, pipelines and data sets: mmdet's own base configs, changed where needed.

What is not an argument here is as the installed mmdet has it. Nothing heavy is imported before a
function is called.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from backbones.errors import near
from detection.errors import ConfigError
from detection.installed import load_config
from detection.pipelines import Cropping, Resizing, evaluation_pipeline, train_pipeline

if TYPE_CHECKING:
    from mmengine.config import ConfigDict

__all__ = [
    "DETECTORS",
    "SMALL_IMAGES",
    "Cropping",
    "DetectorName",
    "Resizing",
    "Sizes",
    "dataset_settings",
    "evaluation_pipeline",
    "model_settings",
    "train_pipeline",
]

DetectorName = Literal["mask_rcnn", "faster_rcnn"]
DETECTORS: tuple[DetectorName, ...] = ("mask_rcnn", "faster_rcnn")

_MODELS = {
    "mask_rcnn": "_base_/models/mask-rcnn_r50_fpn.py",
    "faster_rcnn": "_base_/models/faster-rcnn_r50_fpn.py",
}


@dataclass(frozen=True)
class Sizes:
    """How large the parts of a detector are; None is what mmdet has.

    Attributes:
        feature_channels: Of each map that the pyramid gives to the heads (256).
        hidden_channels: Of the two hidden layers that classify a region (1024).
        mask_channels: Of the convolutions that draw a mask (256).
        mask_convolutions: How many those are (4).
        anchor_scales: Side of the square anchors in strides of their level ((8,): 32 pixels on
            a map of stride 4).
        proposals_before: Proposals per level before suppression (2000 in training, else 1000).
        proposals: Proposals per image after it (1000).
        anchor_samples: Anchors per image that the loss of proposals is taken over (256).
        region_samples: Regions per image that the other losses are taken over (512).
        detections: Objects per image that are returned (100).
    """

    feature_channels: int | None = None
    hidden_channels: int | None = None
    mask_channels: int | None = None
    mask_convolutions: int | None = None
    anchor_scales: tuple[float, ...] | None = None
    proposals_before: int | None = None
    proposals: int | None = None
    anchor_samples: int | None = None
    region_samples: int | None = None
    detections: int | None = None


SMALL_IMAGES = Sizes(
    anchor_scales=(4.0,),
    proposals_before=256,
    proposals=128,
    anchor_samples=64,
    region_samples=64,
    detections=32,
)
"""For images of about 128 pixels, in which an object has 16 to 64: a CPU can train it."""


def model_settings(
    name: DetectorName,
    *,
    classes: int,
    channels: Sequence[int],
    strides: Sequence[int],
    backbone: Mapping[str, Any],
    sizes: Sizes = Sizes(),
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    pad_divisor: int | None = None,
    changes: Mapping[str, Any] | None = None,
) -> ConfigDict:
    """Return the settings of a detector with a feature pyramid over a backbone's maps.

    Args:
        name: One of `DETECTORS`.
        classes: Categories without the background, >= 1.
        channels: Of each map of the backbone, the finest first.
        strides: Pixels per cell of the same maps, increasing.
        backbone: Settings of the backbone, with its ``type``.
        sizes: How large the parts are.
        mean: Of red, green and blue in [0, 255]; None: mmdet's, which is ImageNet's.
        std: The same.
        pad_divisor: Batches are padded to multiples of this; None: 32, or the coarsest stride
            where that is more.
        changes: Further ones: dotted name of a setting and its value, such as
            ``{"rpn_head.loss_bbox.loss_weight": 2.0}``.

    Returns:
        What ``mmdet.registry.MODELS.build`` takes. One map more than the backbone's leaves the
        pyramid; anchors and regions follow the strides.

    Raises:
        ConfigError: The detector or a changed setting does not exist, or channels and strides do
            not fit together.
    """
    _check(name, classes=classes, channels=channels, strides=strides)
    model = load_config(_MODELS[name])["model"]
    model["backbone"] = dict(backbone)
    preprocessor = model["data_preprocessor"]
    preprocessor.update(
        mean=list(mean or preprocessor["mean"]),
        std=list(std or preprocessor["std"]),
        pad_size_divisor=pad_divisor or max(preprocessor["pad_size_divisor"], strides[-1]),
    )
    _fit_strides(model, channels=channels, strides=strides)
    model["rpn_head"]["type"] = "detection.heads.PreciseRPNHead"
    model["roi_head"]["bbox_head"]["type"] = "detection.heads.PreciseBBoxHead"
    for head in _heads(model, "bbox_head", "mask_head"):
        head["num_classes"] = classes
    _fit_sizes(model, sizes)
    for dotted, value in (changes or {}).items():
        _change(model, dotted, value)
    return model


def dataset_settings(
    *,
    annotation_file: str,
    image_folder: str,
    classes: Sequence[str],
    pipeline: Sequence[Mapping[str, Any]],
    training: bool,
    min_side: int | None = None,
) -> ConfigDict:
    """Return the settings of a data set in COCO's format.

    Args:
        annotation_file: Path of the JSON file.
        image_folder: Path of the folder that its file names are relative to.
        classes: Names of its categories in the order of the file.
        pipeline: What `detection.pipelines` returned.
        training: Whether images without a usable object are left out, and those that are too
            small; in evaluation all stay.
        min_side: Images with a side below this, in pixels, are left out of training; None: 32.

    Returns:
        What ``mmdet.registry.DATASETS.build`` takes.
    """
    base = load_config("_base_/datasets/coco_instance.py")
    settings = base["train_dataloader" if training else "val_dataloader"]["dataset"]
    settings.update(
        data_root="",
        ann_file=annotation_file,
        data_prefix={"img": image_folder},
        metainfo={"classes": tuple(classes)},
        pipeline=list(pipeline),
    )
    if training and min_side is not None:
        settings["filter_cfg"]["min_size"] = min_side
    return settings


def _check(name: str, *, classes: int, channels: Sequence[int], strides: Sequence[int]) -> None:
    if name not in DETECTORS:
        raise ConfigError(f"unknown detector {name!r}; {near(name, DETECTORS)}")
    if classes < 1:
        raise ConfigError(f"a detector needs a category at least; found {classes}")
    rising = all(one < other for one, other in itertools.pairwise((0, *strides)))
    if not strides or len(channels) != len(strides) or not rising:
        raise ConfigError(
            "the maps of a backbone need channels and increasing strides, one each; found "
            f"channels {tuple(channels)} and strides {tuple(strides)}"
        )


def _heads(model: ConfigDict, *names: str) -> list[ConfigDict]:
    """Return those parts of the second stage that this detector has."""
    return [model["roi_head"][name] for name in names if name in model["roi_head"]]


def _fit_strides(model: ConfigDict, *, channels: Sequence[int], strides: Sequence[int]) -> None:
    model["neck"].update(in_channels=list(channels), num_outs=len(strides) + 1)
    # the pyramid halves its coarsest map once more
    model["rpn_head"]["anchor_generator"]["strides"] = [*strides, 2 * strides[-1]]
    for extractor in _heads(model, "bbox_roi_extractor", "mask_roi_extractor"):
        extractor["type"] = "detection.roi_extractor.PreciseRoIExtractor"
        extractor["featmap_strides"] = list(strides)


def _fit_sizes(model: ConfigDict, sizes: Sizes) -> None:
    """Write each size that is not None to all the places that have to agree on it."""
    rpn, regions = model["rpn_head"], model["roi_head"]
    training, testing = model["train_cfg"], model["test_cfg"]
    proposals = [training["rpn_proposal"], testing["rpn"]]
    heads = _heads(model, "bbox_head", "mask_head")
    extractors = _heads(model, "bbox_roi_extractor", "mask_roi_extractor")
    scales = sizes.anchor_scales
    places: list[tuple[Any, Sequence[ConfigDict], str]] = [
        (sizes.feature_channels, [model["neck"], *extractors], "out_channels"),
        (sizes.feature_channels, [rpn, *heads], "in_channels"),
        (sizes.feature_channels, [rpn], "feat_channels"),
        (sizes.hidden_channels, [regions["bbox_head"]], "fc_out_channels"),
        (sizes.mask_channels, _heads(model, "mask_head"), "conv_out_channels"),
        (sizes.mask_convolutions, _heads(model, "mask_head"), "num_convs"),
        (list(scales) if scales else None, [rpn["anchor_generator"]], "scales"),
        (sizes.proposals_before, proposals, "nms_pre"),
        (sizes.proposals, proposals, "max_per_img"),
        (sizes.anchor_samples, [training["rpn"]["sampler"]], "num"),
        (sizes.region_samples, [training["rcnn"]["sampler"]], "num"),
        (sizes.detections, [testing["rcnn"]], "max_per_img"),
    ]
    for value, parts, key in places:
        if value is not None:
            for part in parts:
                part[key] = value


def _change(model: ConfigDict, dotted: str, value: Any) -> None:
    *way, last = dotted.split(".")
    settings: Any = model
    for key in (*way, last):
        if not isinstance(settings, dict) or key not in settings:
            known = settings if isinstance(settings, dict) else ()
            raise ConfigError(
                f"no setting {dotted!r} of this detector: no {key!r}; {near(key, known)}"
            )
        holder, settings = settings, settings[key]
    holder[last] = value
