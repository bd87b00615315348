"""SPConv (Zhang et al., IJCAI 2020, arXiv 2006.12085): the recipe of its release."""

from __future__ import annotations

from jobs.recipes.recipe import Recipe


def spconv_90() -> Recipe:
    """ImageNet, 90 epochs: SGD 0.1, a tenth of it every 30 (ResNet of SPConv).

    Command: ``platform submit classify --set backbone=resnet50/conv --set data=<ImageNet> --set
        recipe=spconv_90 --workers 4
    --gpus 1``. Not measured here. The schedule committed in the release cannot train from scratch
    (it multiplies the rate by 1e18 at first), so the usual one stands here; its triangular
    interpolation is bilinear.
    """
    return Recipe(
        name="spconv_90",
        epochs=90,
        batch_size=256,
        micro_batch=64,
        lr=0.1,
        weight_decay=1e-4,
        decay_norm_and_bias=True,
        schedule="step",
        step_epochs=(30, 60),
        scale=(0.1, 1.0),
        ratio=(0.8, 1.25),
        image_size=224,
    )
