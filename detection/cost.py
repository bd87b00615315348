"""What a whole detector costs, in the convention of `backbones.cost`.

Counted is one image of 800 x 1280 pixels with as many proposals as the detector may have: 1000
regions are classified and 100 get a mask, however many a real image has. Reading regions out of the
maps and suppressing overlaps are no multiply-adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from backbones.cost import Cost, LayerCost, count
from detection.detector import make_detector
from detection.settings import DetectorName, Sizes

PARTS = ("backbone", "neck", "rpn_head", "bbox_head", "mask_head")
"""Of a detector, in the order in which they run; Faster R-CNN has no `mask_head`."""


@dataclass(frozen=True)
class DetectorCost(Cost):
    """What a detector costs.

    Attributes:
        parts: The same for each of `PARTS` that it has; they add up to the whole.
    """

    parts: Mapping[str, LayerCost] = field(default_factory=dict)


@lru_cache(maxsize=64)
def detector_cost(
    name: DetectorName,
    *,
    backbone: str,
    classes: int,
    height: int = 800,
    width: int = 1280,
    image_size: int = 224,
    output_norms: bool = False,
    sizes: Sizes = Sizes(),  # noqa: B008 - frozen
) -> DetectorCost:
    """Count a detector on the `meta` device.

    Args:
        name: ``mask_rcnn`` or ``faster_rcnn``.
        backbone: Text of the backbone.
        classes: Categories.
        height: Of the image in pixels.
        width: The same.
        image_size: Side of the images for which the backbone is built (see `make_detector`).
        output_norms: Whether the backbone's maps pass a LayerNorm each.
        sizes: How large the parts are; proposals and detections are taken at their maximum.

    Raises:
        ConfigError: A setting does not fit.
        BackboneError: The backbone cannot be built, or has no maps of several strides.
    """
    detector = make_detector(
        name,
        backbone=backbone,
        classes=classes,
        image_size=image_size,
        device="meta",
        output_norms=output_norms,
        sizes=sizes,
    )
    whole = count(FullPass(detector), image_size=(height, width))
    parts = {
        part: _sum(whole.layers, part)
        for part in PARTS
        if any(_is_in(path, part) for path in whole.layers)
    }
    return DetectorCost(
        params=whole.params,
        madds=whole.madds,
        madds_assembly=whole.madds_assembly,
        layers=whole.layers,
        parts=parts,
    )


class FullPass(nn.Module):
    """The parts of a detector one after the other, with as many regions as there may be.

    Args:
        detector: As `make_detector` returns it.
    """

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        head: Any = detector.get_submodule("roi_head")
        limits: Any = detector.test_cfg
        self.backbone, self.neck = (detector.get_submodule(name) for name in ("backbone", "neck"))
        self.rpn_head = detector.get_submodule("rpn_head")
        self.bbox_head = head.bbox_head
        self._regions = [
            (self.bbox_head, head.bbox_roi_extractor, limits["rpn"]["max_per_img"]),
        ]
        if head.with_mask:
            self.mask_head = head.mask_head
            self._regions.append(
                (self.mask_head, head.mask_roi_extractor, limits["rcnn"]["max_per_img"])
            )

    def forward(self, images: Tensor) -> None:
        """Run each part on maps without values."""
        maps = self.neck(self.backbone(images))
        self.rpn_head(maps)
        for head, extractor, number in self._regions:
            side = extractor.roi_layers[0].output_size
            head(torch.empty(number, maps[0].shape[1], *side, device=images.device))


def _is_in(path: str, part: str) -> bool:
    return path == part or path.startswith(f"{part}.")


def _sum(layers: Mapping[str, LayerCost], part: str) -> LayerCost:
    inside = [cost for path, cost in layers.items() if _is_in(path, part)]
    return LayerCost(
        params=sum(cost.params for cost in inside),
        madds=sum(cost.madds for cost in inside),
        madds_assembly=sum(cost.madds_assembly for cost in inside),
    )
