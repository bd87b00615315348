"""Which cells of the pyramid's maps a region is read from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from detection import openmmlab as openmmlab  # before mmdet

from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor  # isort: skip

_CELLS = 14
"""mmdet's 56 pixels on a map of stride 4: regions of up to twice this side stay on the finest."""


class PreciseRoIExtractor(SingleRoIExtractor):
    """mmdet's extractor, with coordinates in single precision whatever the maps have.

    In mixed precision mmdet rounds the coordinates of regions to the type of the maps. bfloat16
    has eight significant bits: beyond 512 pixels corners would stand 4 apart.

    Args:
        featmap_strides: Pixels per cell of each map, the finest first.
        finest_scale: Half of the side, in pixels, from which on regions leave the finest map;
            None: 14 cells.
        settings: Further ones of mmdet's extractor.
    """

    def __init__(
        self,
        *,
        featmap_strides: Sequence[int],
        finest_scale: int | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(
            featmap_strides=list(featmap_strides),
            finest_scale=_CELLS * featmap_strides[0] if finest_scale is None else finest_scale,
            **settings,
        )

    def forward(
        self, feats: Sequence[Tensor], rois: Tensor, roi_scale_factor: float | None = None
    ) -> Tensor:
        """Read regions, (R, C, H, W), out of the maps that fit their size.

        Args:
            feats: Maps, (N, C, H, W), the finest first.
            rois: (R, 5): image, x1, y1, x2, y2 in pixels.
            roi_scale_factor: Regions are enlarged by this.
        """
        read: Tensor = super().forward(
            tuple(map_.float() for map_ in feats), rois.float(), roi_scale_factor
        )
        return read
