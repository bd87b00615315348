"""WeightNet (Ma et al., ECCV 2020, arXiv 2007.11823): the recipe of its release."""

from __future__ import annotations

from jobs.recipes.recipe import Recipe

_STEPS = 300_000
_TRAINING_IMAGES = 1_281_167
_GPUS = 8
"""Not stated by the release; 8 make ShuffleNetV2's batch of 1,024 at a rate of 0.5."""
_BATCH = 128 * _GPUS


def weightnet_300k() -> Recipe:
    """ImageNet, 300,000 steps (240 epochs): SGD 0.5 falling linearly, colour jitter (WeightNet).

    Command: ``platform submit classify --set data=<ImageNet> --set recipe=weightnet_300k --set
        backbone=shufflenet_v2_weightnet_x1_0/weightnet --workers 8 --gpus 1``. Published for plain
    ShuffleNetV2 x0.5: 60.3 % top-1, with WeightNet 63.3 %; not measured here.

    The release says 128 images and a rate of 0.0625 for each GPU, not how many GPUs; eight are our
    reading. Matrices alone decay. Its x2.0 has dropout 0.2, for which ShuffleNetV2 has no place
    here. An epoch has 1,251 steps, and 240 of them are the whole number that is nearest.
    """
    return Recipe(
        name="weightnet_300k",
        epochs=round(_STEPS / (_TRAINING_IMAGES // _BATCH)),
        batch_size=_BATCH,
        micro_batch=128,
        lr=0.0625 * _GPUS,
        weight_decay=4e-5,
        schedule="linear",
        label_smoothing=0.1,
        colour_jitter=0.4,
        image_size=224,
    )
