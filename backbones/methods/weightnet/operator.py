"""WeightNet: each filter is made from a few numbers of its own.

s = sigmoid(W1 (Wr mean(x) + br) + b1), and group g of a filter is the sum over m of s_gm v_gm
(arXiv 2007.11823, section 3.2). Shape suffixes: N images, O filters, G groups of a filter, R its
numbers in a group, M hidden numbers for a group.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.fusion.affine import scaled, shifted
from backbones.method import Replacements
from backbones.methods.weightnet import Settings, parts, reduced_channels, reduced_width
from backbones.per_image import convolve_in_parts, shape_text
from backbones.routed_block import RoutedBlock
from backbones.sites import Site


class Reduction(nn.Module):
    """What a block hands to its layers.

    Args:
        channels: Channels that it sees, the last ones of the block's input.
        width: Numbers that it gives.
    """

    def __init__(self, channels: int, *, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, width)
        _reset(self.linear)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, width)."""
        reduced: Tensor = self.linear(x[:, -self.linear.in_features :].mean((2, 3)))
        return reduced


class Generation(nn.Module):
    """Make filters."""

    cost_kind = "assembly"

    def forward(self, gains_NOGM: Tensor, weight_OGRM: Tensor) -> Tensor:
        """Return (N, O, G, R)."""
        if weight_OGRM.shape[3] == 1:
            return gains_NOGM * weight_OGRM[..., 0]
        by_group = gains_NOGM.flatten(1, 2).transpose(0, 1)
        filters = torch.bmm(by_group, weight_OGRM.flatten(0, 1).transpose(1, 2)).transpose(0, 1)
        return filters.reshape(-1, *weight_OGRM.shape[:3])


class WeightNetConv2d(nn.Module):
    """A convolution with filters that are made for each image.

    Args:
        site: The convolution that it stands for.
        settings: Of WeightNet, checked against the site.
        reduced: Numbers that come from the block.

    Attributes:
        weight: (O, G, C / groups * k * k / G, M / G).
    """

    def __init__(self, site: Site, settings: Settings, *, reduced: int) -> None:
        super().__init__()
        self.site = site
        self.parts = parts(site, settings)
        self.rank = settings.hidden // settings.groups
        self.inputs = site.in_channels // site.groups
        numbers = self.inputs * math.prod(site.kernel_size) // self.parts
        self.gains = nn.Linear(reduced, site.out_channels * self.parts * self.rank)
        self.weight = nn.Parameter(torch.empty(site.out_channels, self.parts, numbers, self.rank))
        self.bias = nn.Parameter(torch.zeros(site.out_channels)) if site.bias else None
        self.generation = Generation()
        whole_channels = site.groups == 1 and self.inputs % self.parts == 0
        self.can_scale_maps = self.rank == 1 and (self.parts == 1 or whole_channels)
        map_numbers = self.parts * site.out_channels * math.prod(site.out_size)
        self.has_small_maps = map_numbers < self.weight.numel()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights (normal; one over the inputs, or the numbers of a group); biases are 0."""
        _reset(self.gains)
        nn.init.normal_(self.weight, std=1 / self.weight.shape[2])
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, reduced: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: (N, C, H, W).
            reduced: (N, width), what the block says.

        Returns:
            (N, O, H', W'), in the memory format of `x`.
        """
        gains_NOGM = self.gains(reduced).sigmoid().view(-1, *self.weight.shape[:2], self.rank)
        # one image's filters are scaled instead where they have fewer numbers than its maps
        if self.can_scale_maps and (x.shape[0] > 1 or self.has_small_maps):
            y = self._scale_maps(x, gains_NOGM[..., 0])
        else:
            y = convolve_in_parts(
                x,
                lambda images, outputs: self._kernels(
                    gains_NOGM[images, outputs], self.weight[outputs]
                ),
                site=self.site,
            )
        return y if self.bias is None else y + self.bias.to(y.dtype)[:, None, None]

    def _kernels(self, gains_NOGM: Tensor, weight_OGRM: Tensor) -> Tensor:
        filters: Tensor = self.generation(gains_NOGM, weight_OGRM)
        return filters.reshape(-1, weight_OGRM.shape[0], self.inputs, *self.site.kernel_size)

    def _scale_maps(self, x: Tensor, gains_NOG: Tensor) -> Tensor:
        """Convolve each part of the channels with the same filters for all images, then weigh."""
        site = self.site
        kernel = self.weight.transpose(0, 1).reshape(
            -1, self.inputs // self.parts, *site.kernel_size
        )
        maps = functional.conv2d(
            x, kernel, None, site.stride, site.padding, site.dilation, site.groups * self.parts
        ).chunk(self.parts, dim=1)
        y = maps[0] * gains_NOG[:, :, 0, None, None]
        for part in range(1, self.parts):
            y = torch.addcmul(y, maps[part], gains_NOG[:, :, part, None, None])
        return y

    def absorb(self, scale: Tensor, shift: Tensor) -> None:
        """Take up a norm that follows (see `fusion.Absorbs`)."""
        self.bias = shifted(self.bias, (scale, shift), like=self.weight)
        self.weight = scaled(self.weight, scale)

    def extra_repr(self) -> str:
        """Show the shape of the layer."""
        return f"{shape_text(self.site)}, M/G={self.rank}, G={self.parts}"


def _reset(linear: nn.Linear) -> None:
    nn.init.normal_(linear.weight, std=1 / linear.in_features)
    nn.init.zeros_(linear.bias)


def plan(sites: Sequence[Site], settings: Settings) -> Replacements:
    """Replace the convolutions, and put a reduction around each of their blocks.

    Args:
        sites: Convolutions within blocks, in the order in which the modules stand.
        settings: Of WeightNet.
    """
    blocks: dict[str, list[Site]] = {}
    for site in sites:
        blocks.setdefault(site.block_name, []).append(site)
    replacements: dict[str, nn.Module] = {}
    for name, block in blocks.items():
        channels = reduced_channels(block)
        width = reduced_width(channels, settings)
        layers = {site.name: WeightNetConv2d(site, settings, reduced=width) for site in block}
        reduction = Reduction(channels, width=width)
        replacements |= {**layers, name: RoutedBlock(reduction, list(layers.values()))}
    return replacements
