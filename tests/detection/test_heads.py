"""Boxes stand where they belong when maps have half precision, in proposals and in objects."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from detection.heads import PreciseBBoxHead, PreciseRPNHead
from detection.settings import model_settings

from mmdet.registry import MODELS  # isort: skip

SIDE = 832
IMAGE: dict[str, Any] = {"img_shape": (SIDE, SIDE), "ori_shape": (SIDE, SIDE), "scale_factor": 1.0}
STRIDES = (8, 16)


def part_of(model: Any, *names: str) -> Any:
    for name in names:
        model = model[name]
    return dict(model)


def settings() -> Any:
    return model_settings(
        "faster_rcnn", classes=3, channels=(8, 8), strides=STRIDES, backbone={"type": "ResNet"}
    )


def proposals(kind: str, maps: tuple[list[Tensor], list[Tensor]]) -> Tensor:
    """What a head makes of scores and offsets, best first."""
    model = settings()
    how = {**part_of(model, "rpn_head"), "type": kind, "test_cfg": model["test_cfg"]["rpn"]}
    (found,) = MODELS.build(how).predict_by_feat(*maps, batch_img_metas=[IMAGE])
    boxes: Tensor = found.bboxes
    return boxes


def test_anchors_are_not_rounded_to_the_type_of_the_scores() -> None:
    torch.manual_seed(0)
    sides = [SIDE // stride for stride in (*STRIDES, 2 * STRIDES[-1])]
    given = tuple(
        [torch.randn(1, channels, side, side).bfloat16() for side in sides] for channels in (3, 12)
    )
    maps, exact = (given[0], given[1]), tuple([one.float() for one in part] for part in given)
    wanted = proposals("mmdet.RPNHead", (exact[0], exact[1]))
    assert torch.equal(proposals("detection.heads.PreciseRPNHead", maps), wanted)
    rounded = proposals("mmdet.RPNHead", maps)
    assert torch.equal(rounded, rounded.bfloat16().float())  # what it is for


def test_objects_are_not_rounded_to_the_type_of_the_offsets() -> None:
    torch.manual_seed(0)
    model = settings()
    corner = torch.rand(20, 2) * 600
    rois = torch.cat([torch.zeros(20, 1), corner, corner + 100.3], dim=1)
    scores, offsets = torch.randn(20, 4).bfloat16(), torch.randn(20, 12).bfloat16()

    def objects(dtype: torch.dtype) -> Tensor:
        head = MODELS.build(part_of(model, "roi_head", "bbox_head"))
        assert isinstance(head, PreciseBBoxHead)
        (found,) = head.predict_by_feat(
            rois=[rois],
            cls_scores=[scores.to(dtype)],
            bbox_preds=[offsets.to(dtype)],
            batch_img_metas=[IMAGE],
            rcnn_test_cfg=model["test_cfg"]["rcnn"],
        )
        boxes: Tensor = found.bboxes
        return boxes

    assert len(objects(torch.bfloat16)) > 5
    assert torch.equal(objects(torch.bfloat16), objects(torch.float32))


def test_mixed_precision_finds_boxes_in_single_precision() -> None:
    model = settings()
    assert issubclass(MODELS.get(model["rpn_head"]["type"]), PreciseRPNHead)
    head = MODELS.build(part_of(model, "roi_head", "bbox_head")).eval()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        scores, offsets = head(torch.randn(4, 256, 7, 7))
        assert offsets.dtype == torch.bfloat16
        (found,) = head.predict_by_feat(
            rois=[torch.tensor([[0.0, 700.0, 700.0, 790.7, 790.7]]).repeat(4, 1)],
            cls_scores=[scores],
            bbox_preds=[offsets],
            batch_img_metas=[IMAGE],
            rcnn_test_cfg=model["test_cfg"]["rcnn"],
        )
    assert found.bboxes.dtype == found.scores.dtype == torch.float32
