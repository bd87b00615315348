"""The embedded data set: scikit-learn's digits, the default of a fresh machine."""

from __future__ import annotations

from jobs.recipes.recipe import Recipe


def digits_quick() -> Recipe:
    """Digits, 6 epochs at 16 px: what `make demo` trains.

    ``platform submit classify resnet20/conv --set data=digits --set recipe=digits_quick`` takes
    about 10 s on one core and scores about 99 % top-1.
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
