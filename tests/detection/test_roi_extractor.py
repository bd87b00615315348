from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from detection.roi_extractor import PreciseRoIExtractor
from tests.backbones.closeness import relative_error

from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor  # isort: skip

HOW: dict[str, Any] = {
    "roi_layer": {"type": "RoIAlign", "output_size": 7, "sampling_ratio": 0},
    "out_channels": 8,
    "featmap_strides": [4, 8, 16, 32],
}


def maps(dtype: torch.dtype) -> tuple[Tensor, ...]:
    return tuple(torch.randn(2, 8, 320 // side, 320 // side).to(dtype) for side in (1, 2, 4, 8))


def regions() -> Tensor:
    """Regions of every level's size, some far from the corner, at odd coordinates."""
    corner = torch.rand(40, 2) * 700 + 300
    size = torch.linspace(4, 600, 40)[:, None] * (torch.rand(40, 2) * 0.4 + 0.8)
    image = torch.randint(2, (40, 1)).float()
    return torch.cat([image, corner, corner + size], dim=1)


def test_in_single_precision_it_is_mmdets() -> None:
    features, rois = maps(torch.float32), regions()
    wanted = SingleRoIExtractor(**HOW)(features, rois)
    assert torch.equal(PreciseRoIExtractor(**HOW)(features, rois), wanted)


def test_maps_of_bfloat16_do_not_move_regions() -> None:
    features, rois = maps(torch.bfloat16), regions()
    wanted = SingleRoIExtractor(**HOW)(tuple(one.double() for one in features), rois.double())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert relative_error(PreciseRoIExtractor(**HOW)(features, rois), wanted) < 1e-4
        # what it is for: corners that are rounded to multiples of 4 read other cells
        assert relative_error(SingleRoIExtractor(**HOW)(features, rois), wanted) > 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_reach_every_map(dtype: torch.dtype) -> None:
    features = tuple(one.requires_grad_() for one in maps(dtype))
    PreciseRoIExtractor(**HOW)(features, regions()).sum().backward()
    for one in features:
        assert one.grad is not None
        assert one.grad.dtype == dtype
        assert one.grad.any()


@pytest.mark.parametrize(
    ("make", "finest"),
    [
        (lambda: PreciseRoIExtractor(**HOW), 56),
        (lambda: PreciseRoIExtractor(**{**HOW, "featmap_strides": [8, 16]}), 112),
        (lambda: PreciseRoIExtractor(**HOW, finest_scale=28), 28),
    ],
)
def test_regions_leave_the_finest_map_at_the_same_number_of_cells(
    make: Callable[[], PreciseRoIExtractor], finest: int
) -> None:
    assert make().finest_scale == finest
