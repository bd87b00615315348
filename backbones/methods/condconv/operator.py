"""CondConv: y = conv(x, sum_e a_e W_e), a = sigmoid(R mean(block input))  (arXiv 1904.04971)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from backbones.fusion.affine import scaled, shifted
from backbones.method import Replacements
from backbones.methods.condconv import Settings
from backbones.per_image import Mixing, convolve_in_parts, shape_text
from backbones.routed_block import RoutedBlock
from backbones.sites import Role, Site


class Router(nn.Module):
    """Weigh the experts for each image.

    Args:
        channels: Channels of the input.
        settings: Of CondConv.
    """

    def __init__(self, channels: int, settings: Settings) -> None:
        super().__init__()
        self.logits = nn.Linear(channels, settings.experts)
        self.is_softmax = settings.routing == "softmax"
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew (Xavier's bound over twice its root), set the bias to 0."""
        experts, channels = self.logits.weight.shape
        bound = 1 / math.sqrt(experts + channels)
        nn.init.uniform_(self.logits.weight, -bound, bound)
        nn.init.zeros_(self.logits.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh.

        Args:
            x: (N, C, H, W), (N, tokens, C) or (N, C).

        Returns:
            (N, E), 0 to 1.
        """
        pooled = x.mean((2, 3)) if x.ndim == 4 else x.mean(1) if x.ndim == 3 else x
        logits: Tensor = self.logits(pooled)
        return logits.softmax(1) if self.is_softmax else logits.sigmoid()


class _Experts(nn.Module):
    """What convolution and linear layer share.

    Attributes:
        weight: (E, O, C / groups * k * k) experts; k is 1 in a linear layer.
        bias: (E, O) of each expert, (1, O) shared by all, or None.
        shift: (O,) that is added whatever the experts weigh, or None; only inference has it.
    """

    def __init__(self, site: Site, settings: Settings) -> None:
        super().__init__()
        self.site = site
        fan_in = site.in_channels // site.groups * math.prod(site.kernel_size)
        self.weight = nn.Parameter(torch.empty(settings.experts, site.out_channels, fan_in))
        self.bias = None
        self.shift: nn.Parameter | None = None
        if site.bias and settings.bias != "none":
            biases = settings.experts if settings.bias == "experts" else 1
            self.bias = nn.Parameter(torch.zeros(biases, site.out_channels))
        self.mixing = Mixing()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the experts anew: normal, with the variance 2 over the outputs of a group."""
        site = self.site
        fan_out = math.prod(site.kernel_size) * site.out_channels // site.groups
        nn.init.normal_(self.weight, std=math.sqrt(2 / fan_out))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def mixed_bias(self, weights: Tensor) -> Tensor | None:
        """Return (N, O) or (1, O), or None."""
        if self.bias is None or self.bias.shape[0] == 1:
            return self.bias
        bias: Tensor = self.mixing(weights, self.bias)
        return bias if self.shift is None else bias + self.shift

    def absorb(self, scale: Tensor, shift: Tensor) -> None:
        """Take up a norm that follows (see `fusion.Absorbs`)."""
        self.weight = scaled(self.weight, scale, dim=1)
        if self.bias is None or self.bias.shape[0] == 1:
            shared = shifted(self.bias, (scale, shift), like=self.weight)
            self.bias = nn.Parameter(shared.view(1, -1), requires_grad=False)
        else:
            self.shift = shifted(self.shift, (scale, shift), like=self.weight)
            self.bias = scaled(self.bias, scale, dim=1)

    def extra_repr(self) -> str:
        """Show the shape of the layer."""
        return f"{self.weight.shape[0]} experts, {shape_text(self.site)}"


class CondConv2d(_Experts):
    """A convolution whose kernel is a mixture of experts, image by image."""

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: (N, C, H, W).
            weights: (N, E), of each expert for each image.

        Returns:
            (N, O, H', W'), in the memory format of `x`.
        """

        def kernels(images: slice, outputs: slice) -> Tensor:
            mixed: Tensor = self.mixing(weights[images], self.weight[:, outputs])
            return mixed

        y = convolve_in_parts(x, kernels, site=self.site)
        bias = self.mixed_bias(weights)
        return y if bias is None else y + bias.to(y.dtype)[:, :, None, None]


class CondLinear(_Experts):
    """A linear layer whose matrix is a mixture of experts, with a router of its own."""

    def __init__(self, site: Site, settings: Settings) -> None:
        super().__init__(site, settings)
        self.router = Router(site.in_channels, settings)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C) to (N, O)."""
        weights = self.router(x)
        y: Tensor
        if x.shape[0] == 1:
            y = x @ self.mixing(weights, self.weight)[0].T
        else:
            # for one position mixing what the experts say is no more work than mixing the experts,
            # and leaves no matrix for each image
            said_NEO = (x @ self.weight.flatten(0, 1).T).view(-1, *self.weight.shape[:2])
            y = torch.bmm(weights[:, None, :], said_NEO)[:, 0]
        bias = self.mixed_bias(weights)
        return y if bias is None else y + bias.to(y.dtype)


def plan(sites: Sequence[Site], settings: Settings) -> Replacements:
    """Replace the layers, and put a router around each of their blocks.

    Args:
        sites: Convolutions of the last blocks, and the classifier.
        settings: Of CondConv.
    """
    replacements: dict[str, nn.Module] = {}
    inside: dict[str, list[nn.Module]] = {}
    channels: dict[str, int] = {}
    for site in sites:
        if site.role is Role.CLASSIFIER:
            replacements[site.name] = CondLinear(site, settings)
            continue
        replacements[site.name] = CondConv2d(site, settings)
        inside.setdefault(site.block_name, []).append(replacements[site.name])
        channels[site.block_name] = site.block_in_channels
    for name, layers in inside.items():
        replacements[name] = RoutedBlock(Router(channels[name], settings), layers)
    return replacements
