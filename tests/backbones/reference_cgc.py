"""Context-gated convolution number by number, in float64, after section 3 of arXiv 1910.05577."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from backbones.sites import Site
from tests.backbones.slow_convolution import slow_convolution

EPSILON = 1e-5
"""What a normalisation adds to a variance: PyTorch's default."""


def context_gated(
    x: Tensor, weights: Mapping[str, Tensor], *, site: Site, training: bool
) -> Tensor:
    """Gate a kernel for each image and convolve the image with it.

    Args:
        x: (N, C, H, W) float64.
        weights: State of the operator in float64: ``weight``, ``gate.encode.weight``, and so on.
        site: The convolution.
        training: Whether norms take the statistics of this batch.
    """
    latent = torch.stack([_encode(image, weights, site=site) for image in x])
    for_inputs = _normalise(latent, weights, "gate.input_norm", training=training)
    for_mixing = _normalise(latent, weights, "gate.interact_norm", training=training)
    mixed = torch.stack([_mix(_relu(one), weights["gate.interact.weight"]) for one in for_mixing])
    for_outputs = _normalise(mixed, weights, "gate.output_norm", training=training)
    images = []
    for n in range(x.shape[0]):
        by_input = _decode(_relu(for_inputs[n]), weights["gate.decode_input.weight"])
        by_output = _decode(_relu(for_outputs[n]), weights["gate.decode_output.weight"])
        kernel = _gated(weights["weight"], by_input, by_output, groups=site.groups)
        images.append(slow_convolution(x[n], kernel, site))
    y = torch.stack(images)
    return y + weights["bias"].reshape(1, -1, 1, 1) if "bias" in weights else y


def _encode(image: Tensor, weights: Mapping[str, Tensor], *, site: Site) -> Tensor:
    """(C, D): what is left of each channel, pooled to the size of the kernel."""
    height, width = site.kernel_size
    channels = []
    for channel in image:
        context = []
        for row in range(height):
            for column in range(width):
                part = channel[
                    _window(row, height, channel.shape[0]), _window(column, width, channel.shape[1])
                ]
                context.append(part.sum() / part.numel())
        channels.append(_multiply(weights["gate.encode.weight"], torch.stack(context)))
    return torch.stack(channels)


def _window(number: int, count: int, length: int) -> slice:
    """Part `number` of `count`, from the floor of its share to the ceiling: parts may overlap."""
    return slice(number * length // count, -(-(number + 1) * length // count))


def _mix(latent: Tensor, matrix: Tensor) -> Tensor:
    """(O, D) from (C, D): one matrix for each group of neighbouring channels."""
    width = matrix.shape[1]
    groups = []
    for first in range(0, latent.shape[0], width):
        columns = [
            _multiply(matrix, latent[first : first + width, d]) for d in range(latent.shape[1])
        ]
        groups.append(torch.stack(columns, dim=1))
    return torch.cat(groups)


def _decode(latent: Tensor, matrix: Tensor) -> Tensor:
    return torch.stack([_multiply(matrix, channel) for channel in latent])


def _gated(weight: Tensor, by_input: Tensor, by_output: Tensor, *, groups: int) -> Tensor:
    outputs, inputs, height, width = weight.shape
    numbers = []
    for o in range(outputs):
        first = o // (outputs // groups) * inputs
        for i in range(inputs):
            for s in range(height * width):
                logit = by_input[first + i, s] + by_output[o, s]
                numbers.append(weight[o, i, s // width, s % width] / (1 + torch.exp(-logit)))
    return torch.stack(numbers).reshape(weight.shape)


def _multiply(matrix: Tensor, vector: Tensor) -> Tensor:
    return torch.stack([(row * vector).sum() for row in matrix])


def _relu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0 * x)


def _normalise(x: Tensor, weights: Mapping[str, Tensor], name: str, *, training: bool) -> Tensor:
    channels = []
    for c in range(x.shape[1]):
        values = x[:, c]
        if training:
            mean = values.sum() / values.numel()
            variance = ((values - mean) ** 2).sum() / values.numel()
        else:
            mean = weights[f"{name}.running_mean"][c]
            variance = weights[f"{name}.running_var"][c]
        scaled = (values - mean) / torch.sqrt(variance + EPSILON)
        channels.append(scaled * weights[f"{name}.weight"][c] + weights[f"{name}.bias"][c])
    return torch.stack(channels, dim=1)
