"""Make a detector over any backbone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn

from backbones.pyramid import LEVELS
from backbones.pyramid_search import find_layout
from backbones.resolve import resolve
from detection.backbone import ConvoyBackbone, Prepare
from detection.settings import DetectorName, Sizes, model_settings

from mmdet.registry import MODELS  # isort: skip


def make_detector(
    name: DetectorName,
    *,
    backbone: str,
    classes: int,
    image_size: int = 224,
    seed: int = 0,
    device: str | torch.device = "cpu",
    frozen_stages: int = 0,
    norm_eval: bool = False,
    drop_path: float = 0.0,
    output_norms: bool = False,
    pretrained: bool = False,
    prepare: Prepare | None = None,
    sizes: Sizes = Sizes(),  # noqa: B008 - frozen
    changes: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Make a detector with initial weights.

    Args:
        name: ``mask_rcnn`` or ``faster_rcnn``.
        backbone: Such as ``resnet50/kernel_warehouse(budget=4)``.
        classes: Categories, without a background.
        image_size: Side in pixels of the images for which the *backbone* is built: that of its
            classification training. The detector takes any.
        seed: Of all initial weights; torch's own generators are left as they were.
        device: Where; ``meta`` for shapes without values.
        frozen_stages: 0 none, 1 up to the backbone's first map, ... (see `ConvoyBackbone`).
        norm_eval: Whether the backbone's batch norms keep their statistics.
        drop_path: Stochastic depth of the backbone.
        output_norms: Whether each map of the backbone passes a LayerNorm, as studies with ConvNeXt
            have it.
        pretrained: Start the backbone from its library's weights.
        prepare: Called with the classification network before its classifier is cut away: the
            place to load weights.
        sizes: How large the parts of the detector are.
        changes: Further settings by their dotted names (see `model_settings`).

    Returns:
        mmdet's detector: ``backbone``, ``neck``, ``rpn_head``, ``roi_head``. Images are given to
        its ``data_preprocessor`` as (3, H, W) in BGR from 0 to 255.

    Raises:
        ConfigError: A setting does not exist or does not fit.
        BackboneError: The backbone cannot be built, or has no maps of several strides.
    """
    layout = find_layout(resolve(backbone), image_size=image_size, levels=LEVELS)
    is_meta = torch.device(device).type == "meta"
    settings = model_settings(
        name,
        classes=classes,
        channels=[tap.channels for tap in layout.taps],
        strides=[tap.stride for tap in layout.taps],
        backbone={
            "type": ConvoyBackbone.__name__,
            "backbone": backbone,
            "image_size": image_size,
            "seed": seed,
            "device": "meta" if is_meta else "cpu",
            "frozen_stages": frozen_stages,
            "norm_eval": norm_eval,
            "drop_path": drop_path,
            "output_norms": output_norms,
            "pretrained": pretrained,
            "prepare": prepare,
        },
        sizes=sizes,
        changes=changes,
    )
    # drawn on the host, so that a seed gives the same weights on every device
    with torch.random.fork_rng(devices=[]), torch.device("meta" if is_meta else "cpu"):
        torch.manual_seed(seed)
        detector: Any = MODELS.build(settings)
        if not is_meta:  # mmengine reads the values back
            detector.init_weights()
    return cast("nn.Module", detector if is_meta else detector.to(device))
