"""How the weight of a warm-up falls. No torch here."""

from __future__ import annotations


def linear_rest(*, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Return what is left of a warm-up that falls linearly with each step.

    Args:
        step: Forward passes in training before the coming one, in all epochs.
        steps_per_epoch: Forward passes in an epoch.
        epochs: Length of the warm-up; 0 for none.

    Returns:
        Just below 1 for the first step, 0 for the last of the warm-up and for all that follow.
    """
    steps = epochs * steps_per_epoch
    return max(0.0, (steps - step - 1) / steps) if steps else 0.0
