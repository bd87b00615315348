"""The embedded data set: scikit-learn's digits, the default of a fresh machine."""

from __future__ import annotations

from jobs.recipes.detection import DetectionRecipe
from jobs.recipes.recipe import Recipe


def digits_quick() -> Recipe:
    """Digits, 6 epochs at 16 px: what `make demo` trains.

    Command: ``platform submit classify resnet20_cifar/conv --set recipe=digits_quick``.
    On one core of an AMD EPYC (Zen 5), in seconds of processor time, and top-1 on ``val`` with
    seed 0: conv 14 s, 99.4 %; se 16 s, 98.9 %; eca 15 s, 99.2 %; ghost 16 s, 99.4 %;
    kernel_warehouse 59 s, 98.9 %.
    """
    return Recipe(
        name="digits_quick",
        epochs=6,
        batch_size=32,
        micro_batch=32,
        lr=0.05,
        nesterov=True,
        weight_decay=5e-4,
        warmup_epochs=1,
        label_smoothing=0.1,
        image_size=16,
        crop="pad4",
        flip=False,
        crop_pct=1.0,
    )


def digit_scenes_quick() -> DetectionRecipe:
    """Scenes of digits, 6 epochs at 128 px with narrow heads: what `make demo` trains to detect.

    Command: ``platform submit detect resnet10t/conv --set recipe=digit_scenes_quick``.
    """
    return DetectionRecipe(
        name="digit_scenes_quick",
        epochs=6,
        batch_size=4,
        micro_batch=4,
        optimiser="adamw",
        lr=1e-3,
        lr_batch=4,
        weight_decay=0.05,
        decays="not_norms",
        clip_grad=10.0,
        warmup_steps=50,
        warmup_ratio=0.1,
        frozen_stages=0,
        norm_eval=False,
        short_sides=(128,),
        long_side=128,
        flip=False,
        test_side=128,
        pyramid_channels=64,
        box_channels=128,
        mask_convs=2,
        anchor_scale=4.0,
        anchors=64,
        candidates=256,
        proposals=128,
        regions=64,
    )
