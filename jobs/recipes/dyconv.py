"""DY-Conv (Chen et al., CVPR 2020, arXiv 1912.03458): what is known of its recipes.

Temperatures belong to the method. The authors released no code, and of the paper's ImageNet recipe
only the temperatures are known here; the tables that compare it with other methods are `trad100`.
"""

from __future__ import annotations

from jobs.recipes.odconv import od_mbv2_150
from jobs.recipes.recipe import Recipe


def dy_mbv2() -> Recipe:
    """ImageNet, 150 epochs: a stand-in, since DY-Conv's recipe is not known (as `od_mbv2_150`).

    Command: ``platform submit classify --set 'backbone=mobilenetv2_100/dyconv(schedule=linear)'
        --set data=<ImageNet> --set recipe=dy_mbv2 --workers 8 --gpus 1``. The paper reports 75.2 %
    top-1 against 72.0 % under its own recipe (secondary source); every value here is ODConv's.
    """
    return od_mbv2_150().derive(name="dy_mbv2")


def dy_cifar_160() -> Recipe:
    """CIFAR, 160 epochs: SGD 0.1, a tenth of it after 50, 75 and 85 % (the re-implementation).

    Command: ``platform submit classify --set 'backbone=resnet18(stem=small)/dyconv' --set
        data=<folder> --set recipe=dy_cifar_160``. Not measured here. The training script of
    kaijieshi7/Dynamic-convolution-Pytorch; its batch and its augmentation are not known here, and
    128 with crop and flip are our choice.
    """
    return Recipe(
        name="dy_cifar_160",
        epochs=160,
        batch_size=128,
        micro_batch=128,
        lr=0.1,
        weight_decay=1e-4,
        decay_norm_and_bias=True,
        schedule="step",
        step_epochs=(80, 120, 136),
        image_size=32,
        crop="pad4",
        crop_pct=1.0,
    )
