"""DY-Conv: y = conv(x, sum_k a_k W_k) + sum_k a_k b_k, a = softmax(MLP(mean(x)) / T).

arXiv 1912.03458, equations 2 and 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from backbones.fusion.affine import scaled, shifted
from backbones.method import Replacements
from backbones.methods.dyconv import Settings, hidden_channels
from backbones.per_image import Mixing, convolve_in_parts, shape_text
from backbones.schedule import linear_rest
from backbones.sites import Site

_STEP = 3
"""Fall of the temperature in an epoch of the released code."""


class Attention(nn.Module):
    """Weigh the kernels for each image.

    Args:
        channels: Channels of the input.
        hidden: Width of the hidden layer.
        kernels: Kernels to weigh.
    """

    def __init__(self, channels: int, *, hidden: int, kernels: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, hidden, bias=False)
        self.act = nn.ReLU(inplace=True)
        self.logits = nn.Linear(hidden, kernels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights anew (Kaiming normal over outputs), set the bias to 0."""
        for layer in (self.reduce, self.logits):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.logits.bias)

    def forward(self, pooled: Tensor, *, temperature: float) -> Tensor:
        """Weigh.

        Args:
            pooled: (N, C) mean of the layer's input over its positions.
            temperature: Of the softmax, at least 1; 1 is sharpest.

        Returns:
            (N, K); each row sums to 1.
        """
        logits: Tensor = self.logits(self.act(self.reduce(pooled)))
        return (logits / temperature).softmax(1)


class DynamicConv2d(nn.Module):
    """A convolution whose kernel (and bias) is a mixture of several, image by image.

    Args:
        site: The convolution that it stands for.
        settings: Of DY-Conv.

    Attributes:
        weight: (K, O, C / groups * k * k) kernels.
        bias: (K, O), or None.
        temperature: Of the softmax. Unless it is constant, it is 1 until `anneal` sets it, and not
            part of the state.
    """

    def __init__(self, site: Site, settings: Settings) -> None:
        super().__init__()
        self.site = site
        kernels, outputs = settings.kernels, site.out_channels
        self.fan_in = site.in_channels // site.groups * math.prod(site.kernel_size)
        self.weight = nn.Parameter(torch.empty(kernels, outputs, self.fan_in))
        self.bias = nn.Parameter(torch.zeros(kernels, outputs)) if site.bias else None
        self.attention = Attention(
            site.in_channels, hidden=hidden_channels(site, settings), kernels=kernels
        )
        self.mixing = Mixing()
        self.settings = settings
        self.temperature = settings.initial_temperature if settings.schedule == "constant" else 1.0
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw kernels (Kaiming uniform over inputs) and attention anew."""
        bound = math.sqrt(6 / self.fan_in)
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        self.attention.reset_parameters()

    def anneal(self, *, step: int, steps_per_epoch: int) -> None:
        """Set the temperature of a training step.

        Args:
            step: Forward passes in training before this one, in all epochs.
            steps_per_epoch: Forward passes in an epoch.
        """
        settings = self.settings
        first = settings.initial_temperature
        match settings.schedule:
            case "steps":
                self.temperature = max(1.0, first - _STEP * (step // steps_per_epoch))
            case "linear":
                rest = linear_rest(
                    step=step,
                    steps_per_epoch=steps_per_epoch,
                    epochs=settings.temperature_epochs,
                )
                self.temperature = 1 + (first - 1) * rest

    def forward(self, x: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: (N, C, H, W).

        Returns:
            (N, O, H', W'), in the memory format of `x`.
        """
        weights = self.attention(x.mean((2, 3)), temperature=self.temperature)

        def kernels(images: slice, outputs: slice) -> Tensor:
            mixed: Tensor = self.mixing(weights[images], self.weight[:, outputs])
            return mixed

        y = convolve_in_parts(x, kernels, site=self.site)
        if self.bias is None:
            return y
        bias: Tensor = self.mixing(weights, self.bias)
        return y + bias.to(y.dtype)[:, :, None, None]

    def absorb(self, scale: Tensor, shift: Tensor) -> None:
        """Take up a norm that follows (see `fusion.Absorbs`)."""
        # the weights of the kernels add up to 1, and so do those of the biases
        bias = self.weight.new_zeros(self.weight.shape[:2]) if self.bias is None else self.bias
        self.bias = shifted(bias, (scale, shift), like=self.weight)
        self.weight = scaled(self.weight, scale, dim=1)

    def extra_repr(self) -> str:
        """Show the shape of the layer."""
        return f"{self.weight.shape[0]} kernels, {shape_text(self.site)}"


def plan(sites: Sequence[Site], settings: Settings) -> Replacements:
    """Replace each convolution.

    Args:
        sites: Convolutions.
        settings: Of DY-Conv.
    """
    return {site.name: DynamicConv2d(site, settings) for site in sites}
