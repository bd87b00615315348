"""ANTNet (Xiong et al., 2019, arXiv 1904.03775): what a third party trains it with."""

from __future__ import annotations

from jobs.recipes.recipe import Recipe


def antnet_400() -> Recipe:
    """ImageNet, 400 epochs: SGD 0.01 with Nesterov's momentum, a tenth of it after 200 and 300.

    Command: ``platform submit classify --set backbone=antnet_1_0/conv --set data=<ImageNet> --set
        recipe=antnet_400 --workers 4 --gpus 1``. Published: 73.2 % top-1 for ANTNet, 72.0 % for
    MobileNetV2; not measured here.

    A stand-in: the authors released no code, and their recipe is not known. Optimiser, rate, decay
    and steps are those of a third party's configuration (dhananjaisharma10/ANTNet), which reports
    no accuracy. It says no batch, crop or augmentation; 256, the random resized crop and the flip
    are ours.
    """
    return Recipe(
        name="antnet_400",
        epochs=400,
        batch_size=256,
        micro_batch=64,
        lr=0.01,
        nesterov=True,
        weight_decay=4e-5,
        decay_norm_and_bias=True,
        schedule="step",
        step_epochs=(200, 300),
        image_size=224,
    )
