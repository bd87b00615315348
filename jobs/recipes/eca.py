"""ECA-Net (Wang et al., CVPR 2020, arXiv 1910.03151): the recipe of its ResNets."""

from __future__ import annotations

from jobs.recipes.recipe import Recipe


def eca_100() -> Recipe:
    """ImageNet, 100 epochs: SGD 0.1, a tenth of it every 30, crop and flip (ResNet of ECA-Net).

    Command: ``platform submit classify --set backbone=resnet50/eca --set data=<ImageNet> --set
        recipe=eca_100 --workers 4
    --gpus 1``. Published for ResNet-50 with ECA: 77.48 % top-1; not measured here.
    """
    return Recipe(
        name="eca_100",
        epochs=100,
        batch_size=256,
        micro_batch=64,
        lr=0.1,
        weight_decay=1e-4,
        decay_norm_and_bias=True,
        schedule="step",
        step_epochs=(30, 60, 90),
        image_size=224,
    )
