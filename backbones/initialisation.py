"""How kernels start that stand in the place of one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


def draw_as_one(weights: Sequence[Tensor], *, in_channels: int) -> None:
    """Draw kernels whose outputs are summed with one deviation (He et al., fan out).

    Args:
        weights: Kernels of any shape.
        in_channels: Channels that all of them together take.
    """
    fan_out = sum(weight.numel() for weight in weights) / in_channels
    for weight in weights:
        nn.init.normal_(weight, std=(2 / fan_out) ** 0.5)
