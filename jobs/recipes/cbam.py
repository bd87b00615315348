"""CBAM (Woo et al., ECCV 2018, arXiv 1807.06521): the recipe of its release."""

from __future__ import annotations

from jobs.recipes.eca import eca_100
from jobs.recipes.recipe import Recipe


def cbam_100() -> Recipe:
    """ImageNet, 100 epochs: SGD 0.1, a tenth of it every 30, crop and flip (ResNet of CBAM).

    Command: ``platform submit classify --set backbone=resnet50/cbam --set data=<ImageNet> --set
        recipe=cbam_100 --workers 4
    --gpus 1``. Published for ResNet-50 with CBAM: 77.622 % top-1; not measured here. The release
    trains as ECA-Net's does, so results under either recipe stand side by side.
    """
    return eca_100().derive(name="cbam_100")
