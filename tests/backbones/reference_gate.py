"""What the slow references of gates share: means, a linear layer and the logistic function."""

from __future__ import annotations

import torch
from torch import Tensor


def means(image: Tensor) -> list[Tensor]:
    """Average each channel of (C, H, W), number by number."""
    found = []
    for channel in image:
        total = torch.zeros((), dtype=torch.float64)
        for value in channel.flatten():
            total = total + value
        found.append(total / channel.numel())
    return found


def maxima(image: Tensor) -> list[Tensor]:
    """Return the largest number of each channel of (C, H, W)."""
    found = []
    for channel in image:
        largest = channel.flatten()[0]
        for value in channel.flatten():
            largest = value if value > largest else largest
        found.append(largest)
    return found


def layer(values: list[Tensor], weight: Tensor, bias: Tensor | None) -> list[Tensor]:
    """Apply a linear layer, (outputs, inputs), to as many values as it has inputs."""
    results = []
    for row in range(weight.shape[0]):
        result = bias[row] if bias is not None else torch.zeros((), dtype=torch.float64)
        for column, value in enumerate(values):
            result = result + weight[row, column] * value
        results.append(result)
    return results


def logistic(value: Tensor) -> Tensor:
    """Return 1 / (1 + exp(-value))."""
    return 1 / (1 + torch.exp(-value))


def scaled(x: Tensor, logits: list[list[Tensor]]) -> Tensor:
    """Scale each channel of (N, C, H, W) by the logistic function of its logit."""
    images = [
        torch.stack([channel * logistic(value) for channel, value in zip(image, row, strict=True)])
        for image, row in zip(x, logits, strict=True)
    ]
    return torch.stack(images)
