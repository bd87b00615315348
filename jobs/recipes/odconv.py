"""ODConv (Li, Zhou and Yao, ICLR 2022): recipes of its release.

Temperatures belong to the method.
"""

from __future__ import annotations

from jobs.recipes.recipe import Recipe


def od_resnet_100() -> Recipe:
    """ImageNet, 100 epochs: SGD 0.1, a tenth of it after epochs 30, 60 and 90 (ResNet of ODConv).

    Command: ``platform submit classify --set backbone=resnet18/conv --set data=<ImageNet> --set
        recipe=od_resnet_100
    --workers 8 --gpus 1``. Published for plain ResNet-18: 70.25 % top-1; not measured here.
    """
    return Recipe(
        name="od_resnet_100",
        epochs=100,
        batch_size=256,
        micro_batch=32,
        lr=0.1,
        weight_decay=1e-4,
        decay_norm_and_bias=True,
        schedule="step",
        step_epochs=(30, 60, 90),
        image_size=224,
    )


def od_mbv2_150() -> Recipe:
    """ImageNet, 150 epochs: SGD 0.05 with cosine to 0 (MobileNetV2 of ODConv).

    Command: ``platform submit classify --set backbone=mobilenetv2_100/conv --set data=<ImageNet>
        --set recipe=od_mbv2_150
    --workers 8 --gpus 1``. Not measured here. The release's example adds dropout 0.2 for four
    kernels at width 1.0.
    """
    return Recipe(
        name="od_mbv2_150",
        epochs=150,
        batch_size=256,
        micro_batch=32,
        lr=0.05,
        weight_decay=4e-5,
        decay_norm_and_bias=True,
        image_size=224,
    )
