"""Detectors over our backbones: initial weights, settings, a step of training, predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn

from backbones.build import build
from backbones.errors import UnsupportedNetworkError
from detection.detector import make_detector
from detection.errors import ConfigError
from detection.installed import config_file
from detection.settings import SMALL_IMAGES

# after detection, which makes mmdet importable
from mmdet.registry import MODELS  # isort: skip
from mmdet.structures import DetDataSample  # isort: skip
from mmdet.structures.mask import BitmapMasks  # isort: skip
from mmengine.config import Config  # isort: skip
from mmengine.structures import InstanceData  # isort: skip

HEIGHT, WIDTH = 96, 128


def detector(name: Any = "mask_rcnn", backbone: str = "resnet18/conv", **options: Any) -> Any:
    return make_detector(name, backbone=backbone, classes=3, sizes=SMALL_IMAGES, **options)


def batch(network: Any, *, count: int = 2) -> dict[str, Any]:
    """Return images with a square object in each, as mmdet's pipelines give them."""
    generator = torch.Generator().manual_seed(4)
    pixels = [
        torch.randint(0, 256, (3, HEIGHT, WIDTH), dtype=torch.uint8, generator=generator)
        for _ in range(count)
    ]
    samples = []
    for index in range(count):
        mask = np.zeros((1, HEIGHT, WIDTH), np.uint8)
        mask[0, 16:64, 24 : 80 + index] = 1
        sample = DetDataSample(
            metainfo={
                "img_shape": (HEIGHT, WIDTH),
                "ori_shape": (HEIGHT, WIDTH),
                "scale_factor": (1.0, 1.0),
            }
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[24.0, 16.0, 80.0 + index, 64.0]]),
            labels=torch.tensor([index]),
            masks=BitmapMasks(mask, HEIGHT, WIDTH),
        )
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0))
        samples.append(sample)
    prepared: dict[str, Any] = network.data_preprocessor(
        {"inputs": pixels, "data_samples": samples}, training=True
    )
    return prepared


def losses(network: Any) -> dict[str, Any]:
    torch.manual_seed(0)  # anchors and regions are drawn
    given = batch(network)
    found = network.loss(given["inputs"], given["data_samples"])
    return {
        name: sum(value) if isinstance(value, list) else value
        for name, value in found.items()
        if "loss" in name
    }


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        ("mask_rcnn", "mobilenetv2_035/kernel_warehouse"),
        ("mask_rcnn", "resnet20_cifar/conv"),
        ("faster_rcnn", "resnet18/odconv"),
    ],
)
def test_a_step_gives_finite_losses_and_a_gradient_to_every_parameter(
    name: str, backbone: str
) -> None:
    network = detector(name, backbone).train()
    found = losses(network)
    masks = {"loss_mask"} if name == "mask_rcnn" else set()
    assert set(found) == {"loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox", *masks}
    total: Any = sum(found.values(), torch.zeros(()))
    assert total.isfinite().all()
    total.sum().backward()
    assert [key for key, one in network.named_parameters() if one.grad is None] == []


def test_with_the_same_weights_it_computes_what_mmdets_own_detector_does() -> None:
    settings = Config.fromfile(config_file("_base_/models/mask-rcnn_r50_fpn.py")).model
    settings.backbone.init_cfg = None
    theirs = MODELS.build(settings)
    ours = make_detector(
        "mask_rcnn", backbone="resnet50/conv", classes=80, frozen_stages=1, norm_eval=True
    )
    state = ours.state_dict()
    renamed = {
        name.replace("backbone.pyramid.network.", "backbone."): one for name, one in state.items()
    }
    theirs.load_state_dict(renamed)
    wanted, actual = (losses(network.train()) for network in (theirs, ours))
    assert set(actual) == set(wanted)
    for name, loss in wanted.items():
        assert torch.allclose(actual[name], loss, rtol=1e-5), name


def test_a_trained_detector_returns_boxes_scores_and_masks() -> None:
    network = detector("mask_rcnn", "mobilenetv2_035/conv").eval()
    given = batch(network, count=1)
    with torch.no_grad():
        found = network.predict(given["inputs"], given["data_samples"])[0].pred_instances
    assert found.bboxes.shape == (len(found), 4)
    assert found.masks.shape == (len(found), HEIGHT, WIDTH)


def test_a_seed_gives_the_weights_and_leaves_the_generator() -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    one, same, other = (detector(seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    for name in ("backbone.pyramid.network.conv1.weight", "rpn_head.rpn_conv.weight"):
        assert not torch.equal(one[name], other[name])


def test_the_backbone_keeps_its_own_initial_weights() -> None:
    whole = build("resnet18/odconv", seed=3).state_dict()
    inside = detector(backbone="resnet18/odconv", seed=3).state_dict()
    for name, value in whole.items():
        if not name.startswith("fc."):
            assert torch.equal(inside[f"backbone.pyramid.network.{name}"], value), name


def test_weights_can_be_loaded_into_the_classification_network() -> None:
    def prepare(network: nn.Module) -> None:
        nn.init.constant_(network.get_parameter("conv1.weight"), 0.25)

    network = detector(prepare=prepare)
    assert (network.get_parameter("backbone.pyramid.network.conv1.weight") == 0.25).all()


def test_images_are_normalised_as_classification_has_them_and_padded() -> None:
    preprocessor = detector(device="cpu").data_preprocessor
    blue_green_red = torch.tensor([10, 100, 200], dtype=torch.uint8).view(3, 1, 1)
    image = blue_green_red.expand(3, 40, 70)
    ready = preprocessor({"inputs": [image]}, training=False)["inputs"][0]
    assert ready.shape == (3, 64, 96)
    scaled = torch.tensor([200, 100, 10]) / 255
    wanted = (scaled - torch.tensor(IMAGENET_DEFAULT_MEAN)) / torch.tensor(IMAGENET_DEFAULT_STD)
    assert torch.allclose(ready[:, 0, 0], wanted, atol=1e-4)
    assert (ready[:, 40:] == 0).all()


def test_strides_of_the_backbone_are_those_of_anchors_and_regions() -> None:
    network = detector(backbone="resnet20_cifar/conv", device="meta")
    assert network.rpn_head.prior_generator.strides == [(1, 1), (2, 2), (4, 4), (8, 8)]
    assert network.roi_head.bbox_roi_extractor.featmap_strides == [1, 2, 4]


def test_sizes_and_changes_reach_the_settings() -> None:
    network = detector(device="meta", changes={"test_cfg.rcnn.score_thr": 0.3})
    assert network.test_cfg.rcnn.score_thr == 0.3
    assert network.test_cfg.rcnn.max_per_img == SMALL_IMAGES.detections


def test_a_change_of_what_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="scorethr"):
        detector(device="meta", changes={"test_cfg.rcnn.scorethr": 0.3})


def test_a_backbone_without_maps_is_refused() -> None:
    with pytest.raises(UnsupportedNetworkError, match="several strides"):
        detector(backbone="convmixer_768_32/conv", device="meta")
