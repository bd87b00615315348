from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest
import torch
import torchvision
from torch import nn

from detection import openmmlab
from detection.errors import ConfigError
from detection.installed import load_config
from detection.pipelines import MULTI_SCALE, Cropping, Resizing, evaluation_pipeline, train_pipeline
from detection.settings import (
    DETECTORS,
    SMALL_IMAGES,
    DetectorName,
    Sizes,
    dataset_settings,
    model_settings,
)

from mmdet.registry import MODELS  # isort: skip

assert openmmlab
RESNET50 = {"channels": (256, 512, 1024, 2048), "strides": (4, 8, 16, 32)}
RESNET18: dict[str, Any] = {
    "type": "ResNet",
    "depth": 18,
    "norm_cfg": {"type": "BN"},
}


def settings(name: str = "mask_rcnn", **changed: Any) -> Any:
    how: dict[str, Any] = {"classes": 80, **RESNET50, "backbone": RESNET18, **changed}
    return model_settings(cast(DetectorName, name), **how)


def build(config: Mapping[str, Any]) -> Any:
    return MODELS.build(config)


def flat(config: Any, path: str = "") -> dict[str, Any]:
    """A config as dotted names and values."""
    if not isinstance(config, dict):
        return {path.removeprefix("."): config}
    return {
        name: value
        for key, below in config.items()
        for name, value in flat(below, f"{path}.{key}").items()
    }


@pytest.mark.parametrize("name", DETECTORS)
def test_over_resnet50_nothing_but_backbone_and_precision_differs_from_mmdet(name: str) -> None:
    file = f"_base_/models/{name.replace('_', '-')}_r50_fpn.py"
    theirs, ours = flat(load_config(file)["model"]), flat(settings(name))
    both = {**theirs, **ours}
    differing = {key for key in both if theirs.get(key) != ours.get(key)}
    precise = {"rpn_head.type", "roi_head.bbox_head.type"}
    precise |= {key for key in ours if key.endswith("roi_extractor.type")}
    assert {key for key in differing if not key.startswith("backbone.")} == precise
    assert all(ours[key].startswith("detection.") for key in precise)


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_over_resnet50_have_as_many_parameters_as_torchvisions(name: str) -> None:
    make = getattr(torchvision.models.detection, f"{name.replace('_', '')}_resnet50_fpn")
    with torch.device("meta"):
        ours = build(settings(name, backbone={**RESNET18, "depth": 50}))
        theirs = make(
            weights=None, weights_backbone=None, num_classes=81, norm_layer=nn.BatchNorm2d
        )
    # torchvision also draws a box, and here a mask, for the background
    spare = 4 * (1024 + 1) + (256 + 1) * (name == "mask_rcnn")
    assert count(ours) == count(theirs) - spare
    assert count(ours) == {"mask_rcnn": 44_396_336, "faster_rcnn": 41_753_056}[name]


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_anchors_regions_and_levels_follow_the_strides() -> None:
    config = settings(channels=(24, 48, 96), strides=(8, 16, 32), classes=3)
    assert config["neck"]["in_channels"] == [24, 48, 96]
    assert config["neck"]["num_outs"] == 4
    assert config["rpn_head"]["anchor_generator"]["strides"] == [8, 16, 32, 64]
    network = build(config)
    for extractor in (
        network.roi_head.bbox_roi_extractor,
        network.roi_head.mask_roi_extractor,
    ):
        assert extractor.featmap_strides == [8, 16, 32]
        assert extractor.finest_scale == 112  # as many cells of the finest map as usual


def test_a_detector_over_uneven_strides_learns_from_an_image() -> None:
    """Strides 2, 8 and 16, from a backbone of three convolutions."""
    config = settings(
        channels=(8, 16, 24), strides=(2, 8, 16), classes=2, sizes=SMALL_IMAGES, backbone=RESNET18
    )
    network = build(config)
    network.backbone = Three()
    network.init_weights()
    losses = network(**network.data_preprocessor(one_scene(), training=True), mode="loss")
    total, _ = network.parse_losses(losses)
    total.backward()
    assert all(parameter.grad is not None for parameter in network.neck.parameters())
    assert len(losses["loss_rpn_cls"]) == 4


class Three(nn.Module):
    """A backbone with maps of strides 2, 8 and 16."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.second = nn.Conv2d(8, 16, 4, stride=4)
        self.third = nn.Conv2d(16, 24, 2, stride=2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        first = self.first(x)
        second = self.second(first)
        return first, second, self.third(second)


def one_scene() -> dict[str, Any]:
    """A batch of one image of noise with two objects."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    sample = DetDataSample(metainfo={"img_shape": (96, 128), "ori_shape": (96, 128)})
    boxes = torch.tensor([[10.0, 12.0, 50.0, 60.0], [70.0, 20.0, 110.0, 90.0]])
    masks = torch.zeros(2, 96, 128, dtype=torch.uint8)
    masks[0, 12:60, 10:50] = masks[1, 20:90, 70:110] = 1
    sample.gt_instances = InstanceData(
        bboxes=boxes, labels=torch.tensor([0, 1]), masks=BitmapMasks(masks.numpy(), 96, 128)
    )
    sample.ignored_instances = InstanceData(
        bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
    )
    image = torch.randint(0, 255, (3, 96, 128), dtype=torch.uint8)
    return {"inputs": [image], "data_samples": [sample]}


def test_sizes_reach_every_place_that_has_to_agree() -> None:
    sizes = Sizes(
        feature_channels=32,
        hidden_channels=48,
        mask_channels=40,
        mask_convolutions=2,
        anchor_scales=(2.0, 4.0),
        proposals_before=64,
        proposals=32,
        anchor_samples=16,
        region_samples=24,
        detections=10,
    )
    config = settings(sizes=sizes, classes=2, channels=(64, 128, 256, 512))
    network = build(config)
    network.init_weights()
    losses = network(**network.data_preprocessor(one_scene(), training=True), mode="loss")
    assert torch.isfinite(losses["loss_mask"])
    how: dict[str, Any] = {"classes": 2, "channels": (64, 128, 256, 512)}
    usual, small = flat(settings(**how)), flat(settings(**how, sizes=sizes))
    changed = {key: value for key, value in small.items() if usual[key] != value}
    assert changed == {
        "neck.out_channels": 32,
        "rpn_head.in_channels": 32,
        "rpn_head.feat_channels": 32,
        "rpn_head.anchor_generator.scales": [2.0, 4.0],
        "roi_head.bbox_roi_extractor.out_channels": 32,
        "roi_head.bbox_head.in_channels": 32,
        "roi_head.bbox_head.fc_out_channels": 48,
        "roi_head.mask_roi_extractor.out_channels": 32,
        "roi_head.mask_head.in_channels": 32,
        "roi_head.mask_head.conv_out_channels": 40,
        "roi_head.mask_head.num_convs": 2,
        "train_cfg.rpn.sampler.num": 16,
        "train_cfg.rpn_proposal.nms_pre": 64,
        "train_cfg.rpn_proposal.max_per_img": 32,
        "train_cfg.rcnn.sampler.num": 24,
        "test_cfg.rpn.nms_pre": 64,
        "test_cfg.rpn.max_per_img": 32,
        "test_cfg.rcnn.max_per_img": 10,
    }


def test_classes_padding_and_normalisation_are_written() -> None:
    config = settings(classes=7, strides=(8, 16, 32, 64), mean=(127.5, 127.5, 127.5), std=[1, 1, 1])
    assert config["roi_head"]["bbox_head"]["num_classes"] == 7
    assert config["roi_head"]["mask_head"]["num_classes"] == 7
    assert config["data_preprocessor"]["mean"] == [127.5, 127.5, 127.5]
    assert config["data_preprocessor"]["std"] == [1, 1, 1]
    assert config["data_preprocessor"]["pad_size_divisor"] == 64
    assert settings(pad_divisor=16)["data_preprocessor"]["pad_size_divisor"] == 16


def test_any_other_setting_is_changed_by_its_dotted_name() -> None:
    changed = settings(changes={"rpn_head.loss_bbox.loss_weight": 2.0})
    assert changed["rpn_head"]["loss_bbox"]["loss_weight"] == 2.0
    assert settings()["rpn_head"]["loss_bbox"]["loss_weight"] == 1.0  # each call its own


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "mask_rcn"}, "did you mean mask_rcnn"),
        ({"classes": 0}, "needs a category"),
        ({"channels": (256, 512)}, "one each"),
        ({"strides": (4, 8, 8, 32)}, "increasing strides"),
        ({"channels": (), "strides": ()}, "increasing strides"),
        ({"changes": {"rpn_head.loss_box.loss_weight": 1}}, "did you mean loss_bbox"),
        ({"changes": {"neck.num_outs.x": 1}}, "no 'x'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(**wrong)


def kinds(steps: list[Any]) -> list[str]:
    return [step["type"] for step in steps]


def test_pipelines_are_mmdets_own_unless_told_otherwise() -> None:
    theirs = load_config("_base_/datasets/coco_instance.py")
    assert train_pipeline() == theirs["train_pipeline"]
    assert evaluation_pipeline(annotations=True) == theirs["test_pipeline"]
    boxes = load_config("_base_/datasets/coco_detection.py")
    assert train_pipeline(masks=False) == boxes["train_pipeline"]
    assert kinds(evaluation_pipeline()) == ["LoadImageFromFile", "Resize", "PackDetInputs"]


def test_cropping_at_several_scales_is_that_of_hierarchical_transformers() -> None:
    theirs = load_config("swin/mask-rcnn_swin-t-p4-w7_fpn_ms-crop-3x_coco.py")
    crop = Resizing(MULTI_SCALE.short_sides, crop=Cropping())
    ours, wanted = flat(train_pipeline(crop)), flat(theirs["train_pipeline"])
    assert sizes_of(train_pipeline(crop)) == sizes_of(theirs["train_pipeline"])
    assert kinds(train_pipeline(crop)) == kinds(theirs["train_pipeline"])
    assert ours.keys() == wanted.keys()


def sizes_of(steps: Any) -> list[Any]:
    """All pairs of sides that a pipeline names, each pair sorted."""
    if isinstance(steps, tuple | list):
        if len(steps) == 2 and all(isinstance(one, int) for one in steps):
            return [tuple(sorted(steps))]
        return [pair for one in steps for pair in sizes_of(one)]
    if isinstance(steps, dict):
        return [pair for key in sorted(steps) for pair in sizes_of(steps[key])]
    return []


def test_sizes_and_flips_are_written_into_the_steps() -> None:
    steps = train_pipeline(Resizing((96, 128), long_side=160), masks=False, flip=0.0)
    assert kinds(steps) == [
        "LoadImageFromFile",
        "LoadAnnotations",
        "RandomChoiceResize",
        "RandomFlip",
        "PackDetInputs",
    ]
    assert steps[2]["scales"] == [(160, 96), (160, 128)]
    assert steps[2]["keep_ratio"]
    assert steps[3]["prob"] == 0.0
    assert evaluation_pipeline(Resizing((96, 128), long_side=160))[1]["scale"] == (160, 128)


@pytest.mark.parametrize("wrong", [{"short_sides": ()}, {"short_sides": (0,)}, {"long_side": 799}])
def test_sides_that_contradict_each_other_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="shorter side"):
        Resizing(**wrong)


def test_training_leaves_images_out_and_evaluation_none() -> None:
    how: dict[str, Any] = {
        "annotation_file": "/data/a.json",
        "image_folder": "/data/images",
        "classes": ["cat"],
        "pipeline": [],
    }
    training = dataset_settings(**how, training=True, min_side=8)
    assert training["filter_cfg"] == {"filter_empty_gt": True, "min_size": 8}
    assert dataset_settings(**how, training=True)["filter_cfg"]["min_size"] == 32
    evaluation = dataset_settings(**how, training=False)
    assert evaluation["test_mode"]
    assert "filter_cfg" not in evaluation
