"""Weights of whole detectors: ours, and those that mmdetection wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from backbones.errors import WeightsError
from backbones.release import own_state
from detection import weights
from detection.detector import make_detector
from detection.installed import load_config

# after detection, which makes mmdet importable
from mmdet.registry import MODELS  # isort: skip

WAREHOUSES = "test_resnet/kernel_warehouse"


def detector(backbone: str, *, classes: int = 3, seed: int = 0) -> nn.Module:
    return make_detector("faster_rcnn", backbone=backbone, classes=classes, seed=seed)


def assert_equal(one: nn.Module, other: nn.Module) -> None:
    theirs = other.state_dict()
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, theirs[name]), name


def test_what_was_saved_fills_another_with_each_shared_tensor_once(tmp_path: Path) -> None:
    one, other = detector(WAREHOUSES), detector(WAREHOUSES, seed=1)
    file = tmp_path / "detector.safetensors"
    weights.save(one, file, metadata={"backbone": WAREHOUSES})
    read = weights.read(file)
    assert read is not None
    assert read.keys() == own_state(one).keys()
    assert len(read) < len(one.state_dict())
    weights.fill(other, read)
    assert_equal(one, other)


def test_a_checkpoint_of_mmdetections_own_resnet_fills_ours(tmp_path: Path) -> None:
    settings = load_config("_base_/models/faster-rcnn_r50_fpn.py")["model"]
    settings["backbone"].pop("init_cfg")
    theirs = MODELS.build(settings)
    file = tmp_path / "epoch_12.pth"
    torch.save({"meta": {"epoch": 12}, "state_dict": theirs.state_dict()}, file)
    read = weights.read(file)
    assert read is not None
    ours = detector("resnet50/conv", classes=80, seed=1)
    weights.fill(ours, read)
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    theirs.eval()
    ours.eval()
    maps: tuple[Tensor, ...] = ours.get_submodule("backbone")(images)
    for one, other in zip(maps, theirs.backbone(images), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_weights_of_a_classifier_are_not_taken_for_a_detectors(tmp_path: Path) -> None:
    file = tmp_path / "classifier.pth"
    torch.save({"conv1.weight": torch.ones(1), "fc.weight": torch.ones(1)}, file)
    assert weights.read(file) is None


def test_other_categories_are_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    one, other = detector("test_resnet/conv"), detector("test_resnet/conv", classes=5, seed=1)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    file = tmp_path / "detector.safetensors"
    weights.save(one, file, metadata={})
    read = weights.read(file)
    assert read is not None
    with pytest.raises(WeightsError, match=r"roi_head.*fc_cls.* is \(4, 1024\), not \(6, 1024\)"):
        weights.fill(other, read)
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, before[name]), name
