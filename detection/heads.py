"""Heads that place boxes in single precision whatever the maps have.

In mixed precision mmdet lays anchors out in the type of the scores, and decodes boxes from anchors
and proposals in it. bfloat16 has eight significant bits: beyond 512 pixels edges would stand 4
apart, of proposals in training, too, while the anchors that losses are taken over are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from detection import openmmlab as openmmlab  # before mmdet

from mmdet.models.dense_heads import RPNHead  # isort: skip
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead  # isort: skip


class PreciseRPNHead(RPNHead):
    """mmdet's proposals, from anchors in single precision."""

    def predict_by_feat(
        self, cls_scores: Sequence[Tensor], bbox_preds: Sequence[Tensor], **how: Any
    ) -> Any:
        """Return the proposals of each image.

        Args:
            cls_scores: (N, anchors of a cell, H, W) of each level.
            bbox_preds: (N, 4 * anchors of a cell, H, W) of each level.
            how: As mmdet's takes it.
        """
        return super().predict_by_feat(_single(cls_scores), _single(bbox_preds), **how)


class PreciseBBoxHead(Shared2FCBBoxHead):
    """mmdet's objects, decoded in single precision."""

    def predict_by_feat(
        self,
        rois: Sequence[Tensor],
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        **how: Any,
    ) -> Any:
        """Return the objects of each image.

        Args:
            rois: (R, 5) of each image: its number, x1, y1, x2, y2 in pixels.
            cls_scores: (R, classes + 1) of each image.
            bbox_preds: (R, 4 * classes) of each image.
            how: As mmdet's takes it.
        """
        return super().predict_by_feat(rois, _single(cls_scores), _single(bbox_preds), **how)


def _single(parts: Sequence[Tensor]) -> list[Tensor]:
    return [part.float() for part in parts]
