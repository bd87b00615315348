"""Split-based convolution: y = beta U3 + gamma U1 (arXiv 2006.12085, section 3).

U3 = norm(group-wise * x_r + point-wise * pool x_r) of the representative channels x_r,
U1 = norm(point-wise * pool x_u) of the redundant ones, and (beta, gamma) the softmax over the means
of U3 and U1. Shape suffixes: N images, O output channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.method import Replacements
from backbones.methods.spconv import Settings, representative_channels
from backbones.products import is_plain
from backbones.sites import Site

_PART = 2**18
"""Numbers of a map (1 MiB in single precision) that are made and added up at a time."""

Affine = tuple[Tensor, Tensor]
"""What is multiplied by and what is added, broadcast over a map."""


class SplitConv(nn.Module):
    """Convolve a part of the channels spatially and the others by 1x1; two norms included.

    Args:
        site: The convolution that it stands for.
        settings: Of SPConv, checked against the site.
    """

    def __init__(self, site: Site, settings: Settings) -> None:
        super().__init__()
        outputs = site.out_channels
        self.representative = representative_channels(site, settings)
        self.redundant = site.in_channels - self.representative
        self.stride = site.stride
        self.weighs = settings.fusion == "soft"
        self.group_wise = nn.Conv2d(
            self.representative,
            outputs,
            site.kernel_size,
            site.stride,
            site.padding,
            site.dilation,
            settings.groups,
            bias=False,
        )
        self.point_wise = (
            nn.Conv2d(self.representative, outputs, 1, bias=False) if settings.pointwise else None
        )
        self.redundant_conv = nn.Conv2d(self.redundant, outputs, 1)
        self.representative_norm = nn.BatchNorm2d(outputs)
        self.redundant_norm = nn.BatchNorm2d(outputs)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw convolutions (He, fan out) and the bias (as the framework does) anew."""
        self.redundant_conv.reset_parameters()
        for conv in (self.group_wise, self.point_wise, self.redundant_conv):
            if conv is not None:
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        self.representative_norm.reset_parameters()
        self.redundant_norm.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Convolve both parts and add them up.

        Args:
            x: (N, C, H, W).

        Returns:
            (N, O, H', W') in the memory format of `x`; H' and W' are rounded up where the stride
            does not divide.
        """
        if not self.training and is_plain(x):
            return self._in_parts(x)
        u3, u1 = self._convolve(x)
        u3, u1 = self.representative_norm(u3), self.redundant_norm(u1)
        if self.weighs:
            beta = torch.sigmoid(u3.mean((2, 3), keepdim=True) - u1.mean((2, 3), keepdim=True))
            return torch.lerp(u1, u3, beta)
        return torch.add(u3, u1)

    def _convolve(self, x: Tensor) -> tuple[Tensor, Tensor]:
        pooled = x
        if self.stride != (1, 1):
            pooled = functional.avg_pool2d(x, self.stride, ceil_mode=True)
        z3 = self.group_wise(x[:, : self.representative])
        if self.point_wise is not None:
            z3 = z3 + self.point_wise(pooled[:, : self.representative])
        return z3, self.redundant_conv(pooled[:, self.representative :])

    def _in_parts(self, x: Tensor) -> Tensor:
        """Make some images at a time, so that a cache holds their maps until they are added up.

        The norms scale and shift, and so do the weights of the sum: both together are two numbers
        for each image and channel, and no map is normalised by itself.
        """
        affine = _affine(self.representative_norm), _affine(self.redundant_norm)
        height, width = (
            -(-size // stride) for size, stride in zip(x.shape[2:], self.stride, strict=True)
        )
        images = max(1, _PART // (self.group_wise.out_channels * height * width))
        parts = [
            self._add(*self._convolve(x[first : first + images]), affine)
            for first in range(0, x.shape[0], images)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _add(self, z3: Tensor, z1: Tensor, affine: tuple[Affine, Affine]) -> Tensor:
        (scale3, shift3), (scale1, shift1) = affine
        if self.weighs:
            mean3, mean1 = (z.mean((2, 3), keepdim=True) for z in (z3, z1))
            beta = torch.sigmoid(scale3 * mean3 + shift3 - (scale1 * mean1 + shift1))
            shift = torch.lerp(shift1, shift3, beta)
            scale3, scale1 = beta * scale3, (1 - beta) * scale1
        else:
            shift = shift3 + shift1
        scale3, scale1, shift = (each.to(z3.dtype) for each in (scale3, scale1, shift))
        return torch.addcmul(shift, z3, scale3).addcmul_(z1, scale1)


def _affine(norm: nn.BatchNorm2d) -> Affine:
    """Return what a norm with running statistics multiplies by and adds, (1, O, 1, 1) each."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    shift = norm.bias - norm.running_mean * scale
    return scale.view(1, -1, 1, 1), shift.view(1, -1, 1, 1)


def plan(sites: Sequence[Site], settings: Settings) -> Replacements:
    """Replace dense convolutions above 1x1.

    Args:
        sites: Those that the method takes.
        settings: Of SPConv.
    """
    return {site.name: SplitConv(site, settings) for site in sites}
