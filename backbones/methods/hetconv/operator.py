"""HetConv: a grouped convolution, and a 1x1 product of what its groups leave (arXiv 1903.04120)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.fusion.conv import FoldedConv2d, FoldedSum
from backbones.initialisation import draw_as_one
from backbones.method import Replacements
from backbones.methods.hetconv import Settings
from backbones.sites import Site


class OtherParts(nn.Module):
    """Combine at each pixel the channels of all parts but the own one.

    Args:
        site: The convolution whose channels and stride it has.
        parts: Into how many parts channels are divided, in and out (P).

    Attributes:
        weight: (L, M - M / P): for each filter the channels of the other parts, in their order.
        cost_share: Of the product that runs, the share that is not by zeros (see `cost.count`).
    """

    def __init__(self, site: Site, parts: int) -> None:
        super().__init__()
        self.parts, self.stride = parts, site.stride
        self.cost_share = Fraction(parts - 1, parts)
        own = site.in_channels // parts
        self.weight = nn.Parameter(torch.empty(site.out_channels, site.in_channels - own))

    def matrix(self) -> Tensor:
        """Return the weights with zeros for the own part, (L, M)."""
        filters, others = self.weight.shape
        own = others // (self.parts - 1)
        rows = self.weight.reshape(self.parts, filters // self.parts, self.parts - 1, own)
        # a square of parts, row by row, is its diagonal and what lies between two diagonal cells
        between = rows.transpose(1, 2).reshape(self.parts - 1, self.parts, -1)
        zeros = between.new_zeros(between.shape[0], 1, between.shape[2])
        cells = torch.cat((zeros, between), dim=1).reshape(-1, between.shape[2])
        square = torch.cat((cells, zeros[0]))
        square = square.reshape(self.parts, self.parts, filters // self.parts, own)
        return square.transpose(1, 2).reshape(filters, others + own)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, M, H, W) to (N, L, H', W')."""
        return functional.conv2d(x, self.matrix()[:, :, None, None], stride=self.stride)


class HetConv(nn.Module):
    """Convolve each part of the channels by itself, and add what the other parts say of a pixel.

    Args:
        site: The convolution that it stands for; P divides its channels.
        settings: Of HetConv.
    """

    def __init__(self, site: Site, settings: Settings) -> None:
        super().__init__()
        self.own_part = nn.Conv2d(
            site.in_channels,
            site.out_channels,
            site.kernel_size,
            site.stride,
            site.padding,
            site.dilation,
            settings.parts,
            bias=site.bias,
        )
        self.other_parts = OtherParts(site, settings.parts)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all kernels anew with one deviation (He, fan out); the bias as PyTorch does."""
        self.own_part.reset_parameters()
        weights = (self.own_part.weight, self.other_parts.weight)
        draw_as_one(weights, in_channels=self.own_part.in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: (N, M, H, W).

        Returns:
            (N, L, H', W') in the layout of `x`.
        """
        y: Tensor = self.own_part(x) + self.other_parts(x)
        return y

    def fused(self) -> FoldedSum:
        """Return the same for inference (see `fusion.Fuses`)."""
        matrix = self.other_parts.matrix()[:, :, None, None]
        outputs, inputs = matrix.shape[:2]
        others = nn.Conv2d(inputs, outputs, 1, self.other_parts.stride, bias=False, device="meta")
        others.weight = nn.Parameter(matrix.detach(), requires_grad=False)
        return FoldedSum(
            (nn.Identity(), FoldedConv2d(self.own_part)), (nn.Identity(), FoldedConv2d(others))
        )


def plan(sites: Sequence[Site], settings: Settings) -> Replacements:
    """Replace each convolution.

    Args:
        sites: Dense convolutions whose channels P divides.
        settings: Of HetConv.
    """
    return {site.name: HetConv(site, settings) for site in sites}
