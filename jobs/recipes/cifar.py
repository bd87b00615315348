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


def cifar_step_200() -> Recipe:
    """CIFAR, 200 epochs: SGD 0.1, a tenth of it after 100 and 150, weight decay 1e-4 (ResNets).

    Command: ``platform submit classify --set backbone=resnet56_cifar/spconv --set data=<folder>
        --set recipe=cifar_step_200``. Not measured here.

    SPConv and GhostNet print CIFAR-10 tables of ResNets without epochs, rates or batch: this is
    the usual training of He et al.'s networks, longer than their own 64,000 steps (164 epochs).
    """
    return cifar_200().derive(
        name="cifar_step_200", schedule="step", step_epochs=(100, 150), weight_decay=1e-4
    )


def cifar_step_200_vgg() -> Recipe:
    """CIFAR, 200 epochs as `cifar_step_200` with weight decay 5e-4 (VGG-16).

    Command: ``platform submit classify --set backbone=vgg16_cifar/hetconv --set data=<folder> --set
        recipe=cifar_step_200_vgg``. Not measured here. The tables of SPConv, HetConv and GhostNet
    do not say how they were trained; a re-implementation of HetConv says 200 epochs.
    """
    return cifar_step_200().derive(name="cifar_step_200_vgg", weight_decay=5e-4)


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
