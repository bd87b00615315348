"""A detector from end to end, and its backbone alone, at a load that no backbone can change.

Untrained heads propose and find arbitrary numbers of objects, and so would decide their own time.
Hence the proposal head does all its work, but the regions that go on are given; and the classifier
says of each that it is of one class, so that suppression leaves as many objects as it may return.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from detection.cost import detector_cost
from detection.detector import make_detector
from detection.settings import DetectorName, Sizes
from jobs.benchmark import BenchmarkSpec
from jobs.benchmark.subject import INPUTS, WHOLE, forward_of, normal_images, prepared
from jobs.benchmark.timing import Forward
from jobs.job import Json

from mmdet.structures import DetDataSample  # isort: skip
from mmengine.structures import InstanceData  # isort: skip

BACKBONE = "backbone"
"""Name of the part that is the backbone alone."""
SCORE = 0.95
"""Of the one class that each region gets. mmdet keeps what is above 0.05: what is left for two
classes and more is below, so that the number of classes does not change the load."""
SMALLEST_SIDE = 16.0
"""Of the regions that are given, pixels."""
_DIVISOR = 32
"""Detectors pad images to multiples of this."""


class Detector:
    """A detector around a backbone; fulfils `Subject`.

    Args:
        spec: The protocol.
        name: Which detector.
        device: Where.

    Attributes:
        sizes: How large its parts are.
    """

    def __init__(self, spec: BenchmarkSpec, *, name: DetectorName, device: torch.device) -> None:
        self._spec = spec
        self._name = name
        self._device = device
        sizes: dict[str, Any] = spec.sizes.changed
        self.sizes = Sizes(**sizes)
        self._how: dict[str, Any] = {
            "classes": spec.classes,
            "sizes": self.sizes,
            "output_norms": spec.output_norms,
        }
        self._regions = self._objects = 0

    @property
    def parts(self) -> Sequence[str]:
        """All of it, and the backbone alone."""
        return WHOLE, BACKBONE

    def notes(self, part: str) -> Sequence[str]:
        """Return what the time includes, and with how many regions and objects."""
        if part == BACKBONE:
            return (f"the backbone of {self._name} alone, on normalised and padded images",)
        if not self._objects:
            return ()  # memory ran out before
        masks = " with their masks (pasted into the image)" if self._name == "mask_rcnn" else ""
        return (
            "from images of 8 bits on the device, normalised and padded in time, to objects on the "
            "device, not encoded",
            f"load of untrained heads made equal: {self._regions} given regions an image go on in "
            "the place of the proposal head's own (whose work is done), each is of one class, and "
            f"{self._objects} objects{masks} are returned",
        )

    def costs(self) -> Mapping[str, Json]:
        """Return parameters and multiply-adds of the detector, and of its backbone."""
        spec = self._spec
        height, width = spec.height_width
        counted = detector_cost(
            self._name, backbone=spec.backbone, height=height, width=width, **self._how
        )
        alone = counted.parts[BACKBONE]
        return {
            "detector": self._name,
            "params": counted.params,
            "madds": counted.madds,
            "madds_assembly": counted.madds_assembly,
            "backbone_params": alone.params,
            "backbone_madds": alone.madds,
            "image_size": f"{height}x{width}",
        }

    def inputs(self) -> Mapping[str, Sequence[Tensor]]:
        """Return images of 8 bits for the whole, normalised and padded ones for the backbone."""
        spec = self._spec
        height, width = spec.height_width
        generator = torch.Generator().manual_seed(spec.seed)
        shape = (spec.batch, 3, height, width)
        images = [
            torch.randint(256, shape, generator=generator, dtype=torch.uint8).to(self._device)
            for _ in range(INPUTS)
        ]
        padded = (math.ceil(side / _DIVISOR) * _DIVISOR for side in (height, width))
        return {WHOLE: images, BACKBONE: normal_images(spec, *padded, device=self._device)}

    def make(self, backbone: str) -> Mapping[str, Forward]:
        """Build the detector and return its passes, the backbone's among them."""
        spec = self._spec
        detector = make_detector(
            self._name, backbone=backbone, seed=spec.seed, device=self._device, **self._how
        )
        detector = prepared(detector, spec)
        self._regions = _fix_load(detector, spec, device=self._device)
        return {
            WHOLE: forward_of(_EndToEnd(detector, self), spec, device=self._device),
            BACKBONE: forward_of(detector.get_submodule(BACKBONE), spec, device=self._device),
        }

    def note_objects(self, count: int) -> None:
        """Take note of how many objects a pass returned for an image."""
        self._objects = count


class _EndToEnd(nn.Module):
    """From images on the device to objects on the device."""

    def __init__(self, detector: nn.Module, subject: Detector) -> None:
        super().__init__()
        self._detector: Any = detector
        self._subject = subject

    def forward(self, images: Tensor) -> object:
        """Detect on (N, 3, H, W) images of 8 bits."""
        size = tuple(images.shape[-2:])
        known = {"img_shape": size, "ori_shape": size, "scale_factor": (1.0, 1.0)}
        samples = [DetDataSample(metainfo=known) for _ in images]
        found = self._detector.test_step({"inputs": list(images), "data_samples": samples})
        self._subject.note_objects(len(found[0].pred_instances))
        return found


def _fix_load(detector: nn.Module, spec: BenchmarkSpec, *, device: torch.device) -> int:
    """Give the second stage its regions and each region its class; return the number of regions."""
    parts: Any = detector
    regions = parts.test_cfg["rpn"]["max_per_img"]
    propose, given = parts.rpn_head.predict, _regions(spec, count=regions).to(device)

    def predict(*args: Any, **options: Any) -> list[Any]:
        return [
            InstanceData(bboxes=given, scores=one.scores.new_ones(regions), labels=labels)
            for one in propose(*args, **options)
        ]

    labels = torch.zeros(regions, dtype=torch.long, device=device)
    parts.rpn_head.predict = predict
    head = parts.roi_head.bbox_head
    with torch.no_grad():
        for layer in (head.fc_cls, head.fc_reg):
            layer.weight.zero_()
            layer.bias.zero_()
        # softmax over the classes and the background gives the first one `SCORE`
        head.fc_cls.bias[0] = math.log(spec.classes * SCORE / (1 - SCORE))
    return int(regions)


def _regions(spec: BenchmarkSpec, *, count: int) -> Tensor:
    """Return (count, 4) corners x1, y1, x2, y2 of regions of all sizes, spread over the image."""
    height, width = spec.height_width
    generator = torch.Generator().manual_seed(spec.seed)
    log_side, log_aspect, x, y = torch.rand(4, count, generator=generator)
    largest = max(float(min(height, width)), SMALLEST_SIDE)
    side = SMALLEST_SIDE * (largest / SMALLEST_SIDE) ** log_side
    aspect = 2 ** (2 * log_aspect - 1)  # from 1:2 to 2:1
    half_width, half_height = side * aspect.sqrt() / 2, side / aspect.sqrt() / 2
    x, y = x * width, y * height
    return torch.stack(
        [
            (x - half_width).clamp(0, width),
            (y - half_height).clamp(0, height),
            (x + half_width).clamp(0, width),
            (y + half_height).clamp(0, height),
        ],
        dim=1,
    )
