"""DCD (Li et al., ICLR 2021, arXiv 2103.08756): recipes of its release.

All parameters decay. The release trains with torch's DataParallel on an unstated number of GPUs, so
how many images batch normalisation sees together (`micro_batch`) is our choice. It publishes no
accuracy, and no baseline under these recipes.
"""

from __future__ import annotations

from jobs.recipes.recipe import Recipe


def dcd_r50() -> Recipe:
    """ImageNet, 120 epochs: SGD 0.1 in steps, mixup that rises for 100 epochs (DCD's ResNet).

    Command: ``platform submit classify --set backbone=resnet50/dcd --set data=<ImageNet> --set
        recipe=dcd_r50 --workers 4 --gpus 1``. Score: not published; not measured here.
    """
    return Recipe(
        name="dcd_r50",
        epochs=120,
        batch_size=256,
        micro_batch=64,
        lr=0.1,
        weight_decay=1e-4,
        decay_norm_and_bias=True,
        schedule="step",
        step_epochs=(30, 60, 90),
        label_smoothing=0.1,
        dropout=0.1,
        mixup=0.2,
        mixup_ramp_epochs=100,
        image_size=224,
    )


def dcd_mbv2() -> Recipe:
    """ImageNet, 300 epochs: SGD 0.1 with cosine, mixup 0.2, dropout 0.2 (DCD's MobileNetV2).

    Command: ``platform submit classify --set backbone=mobilenetv2_100/dcd --set data=<ImageNet>
        --set recipe=dcd_mbv2 --workers 8 --gpus 1``. Score: not published but for width 0.5 (70.2 %
    top-1, secondary source, whose recipe is not stated); not measured here.
    """
    return Recipe(
        name="dcd_mbv2",
        epochs=300,
        batch_size=512,
        micro_batch=64,
        lr=0.1,
        weight_decay=2e-5,
        decay_norm_and_bias=True,
        label_smoothing=0.1,
        dropout=0.2,
        mixup=0.2,
        image_size=224,
    )
