"""What whole detectors cost."""

from __future__ import annotations

import pytest

from backbones.cost import cost
from detection.cost import PARTS, detector_cost
from detection.settings import Sizes


def test_parts_of_mask_rcnn_are_what_their_layers_come_to() -> None:
    counted = detector_cost("mask_rcnn", backbone="resnet50/conv", classes=80)
    cells = [200 * 320, 100 * 160, 50 * 80, 25 * 40]  # of the maps of an image of 800 x 1280
    pooled = 13 * 20  # the map that the pyramid adds
    lateral = sum(n * c * 256 for n, c in zip(cells, (256, 512, 1024, 2048), strict=True))
    assert {name: part.madds for name, part in counted.parts.items() if name != "backbone"} == {
        "neck": lateral + sum(cells) * 256 * 256 * 9,
        "rpn_head": (sum(cells) + pooled) * (256 * 256 * 9 + 256 * 3 * 5),
        "bbox_head": 1000 * (256 * 49 * 1024 + 1024 * 1024 + 1024 * (81 + 320)),
        # four convolutions, a transposed one over its inputs, and the masks
        "mask_head": 100 * 196 * (4 * 256 * 256 * 9 + 256 * 256 * 4 + 4 * 256 * 80),
    }
    assert counted.madds == sum(part.madds for part in counted.parts.values())
    assert counted.params == sum(part.params for part in counted.parts.values()) == 44_396_336


def test_the_backbone_costs_what_it_does_alone_without_its_classifier() -> None:
    alone = cost("resnet50/conv", image_size=224)
    counted = detector_cost(
        "faster_rcnn", backbone="resnet50/conv", classes=80, height=224, width=224
    )
    assert tuple(counted.parts) == PARTS[:4]
    assert counted.parts["backbone"].madds == alone.madds - 2048 * 1000
    assert counted.parts["backbone"].params == alone.params - 2049 * 1000


def test_assembly_of_kernels_is_shown_apart() -> None:
    plain, dynamic = (
        detector_cost("mask_rcnn", backbone=f"resnet18/{method}", classes=3)
        for method in ("conv", "kernel_warehouse")
    )
    assert plain.madds_assembly == 0
    assert 0 < dynamic.madds_assembly == dynamic.parts["backbone"].madds_assembly


def test_fewer_regions_cost_less_in_their_heads_alone() -> None:
    whole, fewer = (
        detector_cost("mask_rcnn", backbone="resnet18/conv", classes=80, sizes=sizes)
        for sizes in (Sizes(), Sizes(proposals=250, detections=20))
    )
    assert fewer.parts["bbox_head"].madds * 4 == whole.parts["bbox_head"].madds
    assert fewer.parts["mask_head"].madds * 5 == whole.parts["mask_head"].madds
    assert fewer.parts["backbone"] == whole.parts["backbone"]


def test_norms_of_the_maps_count_their_parameters() -> None:
    plain, normed = (
        detector_cost("mask_rcnn", backbone="convnext_tiny/conv", classes=80, output_norms=norms)
        for norms in (False, True)
    )
    assert normed.params - plain.params == 2 * (96 + 192 + 384 + 768)
    assert normed.madds == plain.madds


@pytest.mark.parametrize("name", ["mask_rcnn", "faster_rcnn"])
def test_strides_of_small_networks_count_too(name: str) -> None:
    counted = detector_cost(
        "mask_rcnn" if name == "mask_rcnn" else "faster_rcnn",
        backbone="resnet20_cifar/conv",
        classes=10,
        height=128,
        width=128,
    )
    assert set(counted.parts) == set(PARTS if name == "mask_rcnn" else PARTS[:4])
