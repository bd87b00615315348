"""OctConv (Chen et al., ICCV 2019, arXiv 1904.05049): what a re-implementation trains it with."""

from __future__ import annotations

from jobs.recipes.recipe import Recipe


def octconv_120() -> Recipe:
    """ImageNet, 120 epochs: SGD 0.1 on a cosine, crop and flip (ResNet with OctConv).

    Command: ``platform submit classify --set backbone=resnet50/octconv --set data=<ImageNet> --set
        recipe=octconv_120 --workers 4 --gpus 1``. Published: 77.3 % top-1 by the authors, 77.64 %
    by a re-implementation; not measured here.

    A stand-in: the paper trains from scratch with SGD, a cosine and plain cross-entropy, but its
    epochs, rate and batch are not known. The 120 epochs are the re-implementation's, rate and batch
    the usual ones of ResNets.
    """
    return Recipe(
        name="octconv_120",
        epochs=120,
        batch_size=256,
        micro_batch=64,
        lr=0.1,
        weight_decay=1e-4,
        decay_norm_and_bias=True,
        schedule="cosine",
        image_size=224,
    )
