"""Dynamic channel fusion: y = Lambda(x) (W0 * x) + P (norm(Phi(x) q) + q), q = norm(Q * x).

arXiv 2103.08756, with the norms and the identity of the released code. Shape suffixes: N images,
L fused channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.fusion.conv import FoldedConv2d
from backbones.method import Replacements
from backbones.methods.dcd import (
    Settings,
    controller_width,
    fused_channels,
    pooled_side,
)
from backbones.per_image import convolve
from backbones.sites import Site

_LINEAR_STD = 0.01
"""Of the linear layers in the released MobileNetV2; its ResNets keep the framework's start."""


class FusionNorm(nn.BatchNorm2d):
    """Batch normalisation that takes its running statistics where a channel has one value."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, L, H, W)."""
        if self.training and x.numel() == self.num_features:
            return functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(x)


class Controller(nn.Module):
    """Say for each image how output channels are scaled and how fused channels are mixed.

    Args:
        inputs: Numbers that it sees of an image.
        width: Hidden numbers.
        fused: Fused channels (L).
        outputs: Output channels (O).
    """

    def __init__(self, inputs: int, *, width: int, fused: int, outputs: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(inputs, width, bias=False)
        self.gate = nn.Linear(width, width, bias=False)
        self.phi = nn.Linear(width, fused * fused, bias=False)
        self.scale = nn.Linear(width, outputs, bias=False)
        self.channels = fused

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, O) scales in 0..2 (Lambda) and (N, L, L) matrices (Phi) for (N, inputs)."""
        hidden = self.squeeze(pooled)
        hidden = hidden * _doubled_hard_sigmoid(self.gate(hidden))
        phi: Tensor = self.phi(hidden)
        return _doubled_hard_sigmoid(self.scale(hidden)), phi.view(-1, self.channels, self.channels)


class ChannelFusion(nn.Module):
    """A layer whose output channels are scaled, and whose channels are fused, for each image.

    Args:
        site: The convolution or classifier that it stands for.
        settings: Of DCD.
    """

    def __init__(self, site: Site, settings: Settings) -> None:
        super().__init__()
        fused = fused_channels(site, settings)
        self.is_linear = site.kind == "linear"
        self.side = pooled_side(site, settings)
        self.linear_std = _LINEAR_STD if settings.rule == "inverted" else None
        self.static = nn.Conv2d(
            site.in_channels,
            site.out_channels,
            site.kernel_size,
            site.stride,
            site.padding,
            site.dilation,
            bias=site.bias,
        )
        self.compress = nn.Conv2d(site.in_channels, fused, 1, site.stride, bias=False)
        self.compress_norm = FusionNorm(fused)
        self.fuse_norm = FusionNorm(fused)
        self.expand = nn.Conv2d(fused, site.out_channels, 1, bias=False)
        self.controller = Controller(
            site.in_channels * self.side**2,
            width=controller_width(site, settings),
            fused=fused,
            outputs=site.out_channels,
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw convolutions (Kaiming normal over outputs) and linear layers anew."""
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, nn.Linear) or (
                self.is_linear and isinstance(module, nn.Conv2d)
            ):
                self._reset_linear(module)
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def _reset_linear(self, module: nn.Linear | nn.Conv2d) -> None:
        module.reset_parameters()
        if self.linear_std is not None:
            nn.init.normal_(module.weight, std=self.linear_std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer.

        Args:
            x: (N, C, H, W), or (N, C) for a classifier.

        Returns:
            (N, O, H', W') in the memory format of `x`, or (N, O).
        """
        if self.is_linear:
            return self._fuse(x[:, :, None, None]).flatten(1)
        return self._fuse(x)

    def absorb(self, scale: Tensor, shift: Tensor) -> None:
        """Take up a norm that follows (see `fusion.Absorbs`)."""
        self.expand = FoldedConv2d(self.expand, (scale, shift))
        self.static = FoldedConv2d(self.static, (scale, torch.zeros_like(shift)))

    def _fuse(self, x: Tensor) -> Tensor:
        scale, phi_NLL = self.controller(self._pool(x))
        compressed = self.compress_norm(self.compress(x))
        fused = self.fuse_norm(convolve(compressed, phi_NLL[..., None, None])) + compressed
        return torch.addcmul(self.expand(fused), self.static(x), scale[:, :, None, None])

    def _pool(self, x: Tensor) -> Tensor:
        if self.side == 1:
            return x.mean((2, 3))
        return functional.adaptive_avg_pool2d(x, self.side).flatten(1)


def _doubled_hard_sigmoid(x: Tensor) -> Tensor:
    """Run from 0 to 2, and be 1 at 0."""
    # the gradient of torch's own hard sigmoid is rounded to single precision in double, too
    return functional.relu6(x + 3) / 3


def plan(sites: Sequence[Site], settings: Settings) -> Replacements:
    """Replace dense convolutions and the classifier.

    Args:
        sites: Those that the method takes.
        settings: Of DCD.
    """
    return {site.name: ChannelFusion(site, settings) for site in sites}
