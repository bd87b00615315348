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

from backbones.fusion.affine import affine_of
from backbones.fusion.conv import FoldedConv2d
from backbones.method import Replacements
from backbones.methods.spconv import Settings, representative_channels
from backbones.methods.spconv.inference import FusedSplitConv
from backbones.sites import Site


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
        u3, u1 = self.branches(x)
        if self.weighs:
            return torch.lerp(u1, u3, share_of_first(u3, u1)[:, :, None, None])
        return torch.add(u3, u1)

    def branches(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return U3 of the representative channels and U1 of the redundant ones, as `forward`."""
        z3, z1 = self._convolve(x)
        return self.representative_norm(z3), self.redundant_norm(z1)

    def fused(self) -> FusedSplitConv:
        """Return the same for inference (see `fusion.Fuses`)."""
        scale, _ = norm = affine_of(self.representative_norm)
        point_wise = None
        if self.point_wise is not None:
            point_wise = FoldedConv2d(self.point_wise, (scale, torch.zeros_like(scale)))
        return FusedSplitConv(
            FoldedConv2d(self.group_wise, norm),
            point_wise,
            FoldedConv2d(self.redundant_conv, affine_of(self.redundant_norm)),
            weighs=self.weighs,
        )

    def _convolve(self, x: Tensor) -> tuple[Tensor, Tensor]:
        pooled = self.pool(x)
        z3 = self.group_wise(x[:, : self.representative])
        if self.point_wise is not None:
            z3 = z3 + self.point_wise(pooled[:, : self.representative])
        return z3, self.redundant_conv(pooled[:, self.representative :])

    def pool(self, x: Tensor) -> Tensor:
        """Return what the point-wise convolutions see: means over windows of the stride."""
        if self.stride == (1, 1):
            return x
        return functional.avg_pool2d(x, self.stride, ceil_mode=True)


def share_of_first(u3: Tensor, u1: Tensor) -> Tensor:
    """Return beta, (N, O), the weight of U3 where two maps are fused softly; U1's is the rest."""
    return torch.sigmoid(u3.mean((2, 3)) - u1.mean((2, 3)))


def plan(sites: Sequence[Site], settings: Settings) -> Replacements:
    """Replace dense convolutions above 1x1.

    Args:
        sites: Those that the method takes.
        settings: Of SPConv.
    """
    return {site.name: SplitConv(site, settings) for site in sites}
