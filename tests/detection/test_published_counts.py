"""What papers print of whole detectors is what ours count, by the rule of each source."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backbones import method as registry
from backbones.cost import cost, count
from backbones.gate import ChannelGate
from backbones.method import Published
from detection.cost import FullPass, detector_cost
from detection.detector import make_detector
from detection.installed import config_file
from detection.settings import DetectorName

# after detection, which makes mmdet importable
from mmcv.cnn import get_model_complexity_info  # isort: skip
from mmdet.registry import MODELS  # isort: skip
from mmengine.config import Config  # isort: skip

CLASSES = 80
IMAGE = (800, 1280)

ROWS = [
    row
    for method in registry.modules()
    for row in registry.published(method)
    if row.task != "classify"
]
WITH_PARAMETERS = [row for row in ROWS if row.params_m is not None]
WITH_EXTRA_PARAMETERS = [row for row in ROWS if "extra Params" in row.printed]
WITH_PRODUCTS = [row for row in ROWS if "GFLOPs" in row.printed]

OTHERWISE = {
    # 43.80 and the rounded difference of the classification networks: 90.67 - 25.56
    "108.91": "108.92",
    # no sum of what is printed gives it: 23.78 + 11.51 - 3.50 = 31.79
    "31.80": "31.78",
    # 46.445 rounded twice
    "46.5": "46.4",
}
"""Printed by ODConv, or who quotes it, to what the exact counts are rounded."""


def named(row: Published) -> str:
    return f"{row.task} {row.backbone} {row.printed.get('Params', '')} {row.source[:12]}"


def gradients_alone(row: Published) -> tuple[nn.Module, int, int]:
    """Return a detector as ECA's authors had it, and the parameters and products it has less.

    mmdet 1 has box regression and masks for the background, too. A class more here gives those
    and one output more of the classification, which it has not.
    """
    if row.task == "retinanet":
        return retinanet(row.backbone), 0, 0
    detector = make_detector(
        two_stage(row),
        backbone=row.backbone,
        classes=CLASSES + 1,
        frozen_stages=1,
        device="meta",
    )
    return detector, 1024 + 1, 1000 * 1024


def two_stage(row: Published) -> DetectorName:
    assert row.task in {"mask_rcnn", "faster_rcnn"}
    return "mask_rcnn" if row.task == "mask_rcnn" else "faster_rcnn"


def retinanet(backbone: str) -> nn.Module:
    settings = Config.fromfile(config_file("_base_/models/retinanet_r50_fpn.py")).model
    settings.backbone = {
        "type": "ConvoyBackbone",
        "backbone": backbone,
        "frozen_stages": 1,
        "device": "meta",
    }
    with torch.device("meta"):
        built: nn.Module = MODELS.build(settings)
    return built


def parameters_m(row: Published) -> float:
    """Count as the source did, in millions."""
    if "1910.03151" in row.source:
        detector, fewer, _ = gradients_alone(row)
        learning = sum(one.numel() for one in detector.parameters() if one.requires_grad)
        return (learning - fewer) / 1e6
    # the classifier of 1000 classes is in ODConv's backbones, though nothing runs it
    counted = detector_cost(two_stage(row), backbone=row.backbone, classes=CLASSES)
    classifier = cost(row.backbone).params - counted.parts["backbone"].params
    return (counted.params + classifier) / 1e6


def rounded_like(printed: str, value: float) -> str:
    digits = printed.split()[0]
    return str(Decimal(repr(value)).quantize(Decimal(digits)))


@pytest.mark.parametrize("row", WITH_PARAMETERS, ids=named)
def test_parameters_are_those_printed(row: Published) -> None:
    printed = row.printed["Params"].split()[0]
    wanted = OTHERWISE.get(printed, printed)
    assert rounded_like(wanted, parameters_m(row)) == wanted


@pytest.mark.parametrize("row", WITH_EXTRA_PARAMETERS, ids=named)
def test_parameters_over_those_of_the_plain_detector_are_those_printed(row: Published) -> None:
    printed = row.printed["extra Params"].split()[0]
    plain = f"{row.backbone.partition('/')[0]}/conv"
    with_method, without = (
        detector_cost(two_stage(row), backbone=text, classes=CLASSES).params
        for text in (row.backbone, plain)
    )
    assert rounded_like(printed, (with_method - without) / 1e6) == printed


class RetinaPass(nn.Module):
    """RetinaNet without what follows its head."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> None:
        one: Any = self.detector
        one.bbox_head(one.neck(one.backbone(images)))


def products_g(row: Published) -> float:
    """Count as mmdet 1 did: norms, activations, pooling and biases, too; in thousand millions."""
    detector, _, fewer = gradients_alone(row)
    apart = -fewer

    def pooled(gate: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        nonlocal apart
        apart += inputs[0].numel()

    def at_outputs(conv: nn.ConvTranspose2d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        # today's counter multiplies by the positions of the input
        nonlocal apart
        apart += (output[:, 0].numel() - inputs[0][:, 0].numel()) * conv.weight.numel()

    for module in detector.modules():
        if isinstance(module, ChannelGate):
            module.register_forward_hook(pooled)
        elif isinstance(module, nn.ConvTranspose2d):
            module.register_forward_hook(at_outputs)
    run = RetinaPass(detector) if row.task == "retinanet" else FullPass(detector)
    theirs, _ = get_model_complexity_info(
        run, (3, *IMAGE), print_per_layer_stat=False, as_strings=False
    )
    return float(theirs + apart) / 1e9


@pytest.mark.parametrize("row", WITH_PRODUCTS, ids=named)
def test_products_are_those_printed_in_the_convention_of_the_source(row: Published) -> None:
    printed = row.printed["GFLOPs"]
    assert rounded_like(printed, products_g(row)) == printed


@pytest.mark.parametrize("row", [row for row in ROWS if row.madds_m is not None], ids=named)
def test_multiply_adds_in_our_convention_are_what_we_count(row: Published) -> None:
    if row.task == "retinanet":
        run = RetinaPass(retinanet(row.backbone))
        madds = count(run, image_size=IMAGE).madds
    else:
        madds = detector_cost(two_stage(row), backbone=row.backbone, classes=CLASSES).madds
    assert row.madds_m == pytest.approx(madds / 1e6, abs=0.01)


def test_rows_are_there() -> None:
    assert len(WITH_PARAMETERS) >= 28
    assert len(WITH_EXTRA_PARAMETERS) >= 7
    assert len(WITH_PRODUCTS) >= 18
