"""DiCENet (Mehta et al., 2019, arXiv 1906.03516): the recipe of its release."""

from __future__ import annotations

from jobs.recipes.recipe import Recipe


def dicenet_120() -> Recipe:
    """ImageNet, 120 epochs: SGD in 12 cycles from 0.5 to 0.1, then falling linearly (DiCENet).

    Command: ``platform submit classify --set backbone=dicenet_1_5 --set data=<ImageNet> --set
        recipe=dicenet_120 --workers 4 --gpus 1``. Published: 69.51 % top-1; not measured here.

    For networks of 80 million multiply-adds and more. The release's command for its smallest
    network is followed: 120 epochs, of which 61 are cyclic; its default is 300. The first epoch
    has the rate 0.1, and the rate changes between epochs only. How many images a device sees
    together is not said but for the four devices of that command.
    """
    return Recipe(
        name="dicenet_120",
        epochs=120,
        batch_size=512,
        micro_batch=128,
        lr=0.5,
        weight_decay=4e-5,
        decay_norm_and_bias=True,
        schedule="cycles",
        cycles=12,
        cycle_epochs=5,
        image_size=224,
    )


def dicenet_120_light() -> Recipe:
    """The same with crops of a fifth of the image at least, for networks below 80 million.

    Command: ``platform submit classify --set backbone=dicenet_1_0 --set data=<ImageNet> --set
        recipe=dicenet_120_light --workers 4 --gpus 1``. Published: 66.45 % top-1; not measured
    here.
    """
    return dicenet_120().derive(name="dicenet_120_light", scale=(0.2, 1.0))
