"""ANTBlock: y = x + project(attention(depthwise(expand(x))))  (arXiv 1904.03775)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from backbones.method import Replacements
from backbones.methods.ant import Settings, hidden_channels, projection_groups
from backbones.sites import Pair, Site
from backbones.squeeze_excitation import SqueezeExcitation


class AntBlock(nn.Module):
    """An inverted residual with attention before its projection.

    Args:
        channels: Of the input (C) and the output; the input is added where both are equal and the
            stride is 1.
        width: Channels between (E); a block whose width is C has no first convolution.
        hidden: Channels to which the attention squeezes E.
        kernel_size: Of the depthwise convolution, odd.
        stride: Of the depthwise convolution.
        dilation: Of the depthwise convolution.
        groups: Of the projection (g).

    Attributes:
        gate: Place after the last norm, empty here.
        drop_path: Place after the gate, empty here; drops the block of whole images.
    """

    def __init__(
        self,
        channels: Pair,
        *,
        width: int,
        hidden: int,
        kernel_size: Pair = (3, 3),
        stride: Pair = (1, 1),
        dilation: Pair = (1, 1),
        groups: int = 1,
    ) -> None:
        super().__init__()
        before, after = channels
        self.is_residual = before == after and stride == (1, 1)
        vertical, horizontal = (
            apart * (taps // 2) for apart, taps in zip(dilation, kernel_size, strict=True)
        )
        self.expand = nn.Sequential()
        if width != before:
            self.expand = _activated(nn.Conv2d(before, width, 1, bias=False))
        self.depthwise = _activated(
            nn.Conv2d(
                width,
                width,
                kernel_size,
                stride,
                (vertical, horizontal),
                dilation,
                groups=width,
                bias=False,
            )
        )
        self.attn = SqueezeExcitation(width, hidden=hidden, bias=False)
        self.project = nn.Conv2d(width, after, 1, groups=groups, bias=False)
        self.project_norm = nn.BatchNorm2d(after)
        self.gate = nn.Identity()
        self.drop_path = nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the convolutions after He et al., fan out, and the attention as it does itself."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.weight.shape[0] // module.groups * module.weight[0, 0].numel()
                nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
        self.attn.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Widen, convolve, attend and project.

        Args:
            x: (N, C, H, W).

        Returns:
            (N, C', H', W'); H' and W' are rounded up where the stride does not divide.
        """
        wide = self.attn(self.depthwise(self.expand(x)))
        y: Tensor = self.drop_path(self.gate(self.project_norm(self.project(wide))))
        return x + y if self.is_residual else y


def _activated(conv: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU6(inplace=True))


def plan(sites: Sequence[Site], settings: Settings) -> Replacements:
    """Replace each inverted residual block.

    Args:
        sites: Inverted residual blocks.
        settings: Of ANTBlock, checked against them.
    """
    return {
        site.name: AntBlock(
            (site.in_channels, site.out_channels),
            width=site.groups,
            hidden=hidden_channels(site, settings),
            kernel_size=site.kernel_size,
            stride=site.stride,
            dilation=site.dilation,
            groups=projection_groups(site, settings),
        )
        for site in sites
    }
