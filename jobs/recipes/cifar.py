"""CIFAR-10 and CIFAR-100 at 32 px, as small-image papers train them."""

from __future__ import annotations

from jobs.recipes.recipe import Recipe


def cifar_200() -> Recipe:
    """CIFAR, 200 epochs: pad-4 crop and flip, SGD 0.1 with cosine, weight decay 5e-4, batch 128.

    Command: ``platform submit classify --set backbone='resnet18(stem=small)/conv' --set
        data=<folder> --set recipe=cifar_200``.
    Time and score on the whole of CIFAR-10: not measured here yet.
    """
    return Recipe(
        name="cifar_200",
        epochs=200,
        batch_size=128,
        micro_batch=128,
        lr=0.1,
        weight_decay=5e-4,
        decay_norm_and_bias=True,
        image_size=32,
        crop="pad4",
        crop_pct=1.0,
    )


def cifar_quick() -> Recipe:
    """CIFAR, 20 epochs in batches of 64 with warm-up: a first look on a CPU.

    Command: ``platform submit classify --set backbone='resnet18(stem=small)/conv' --set
        data=<folder> --set recipe=cifar_quick``.
    """
    return cifar_200().derive(
        name="cifar_quick",
        epochs=20,
        batch_size=64,
        micro_batch=64,
        lr=0.05,
        nesterov=True,
        warmup_epochs=2,
    )
