"""Ghost module: y = [a, cheap(a)], a = act(norm(conv(x)))  (arXiv 1911.11907, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature

import torch
from timm.layers import activations as timm_activations
from torch import Tensor, nn
from torch.nn.modules import activation as torch_activations

from backbones.errors import UnsupportedNetworkError
from backbones.method import Replacements
from backbones.methods.ghost import Settings, intrinsic_channels
from backbones.sites import Site

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    name.lower(): kind
    for library in (timm_activations, torch_activations)
    for name, kind in vars(library).items()
    if isinstance(kind, type) and issubclass(kind, nn.Module)
}
"""Class name in lower case, as sites name it; torch's own class where both libraries have one."""


class Ghost(nn.Module):
    """Make some channels densely and the others cheaply from those; norms and activations included.

    Args:
        site: The convolution that it stands for, with its norm and activation.
        settings: Of the Ghost module.
    """

    def __init__(self, site: Site, settings: Settings) -> None:
        super().__init__()
        intrinsic = intrinsic_channels(site, settings)
        ghosts = intrinsic * (settings.ratio - 1)
        self.wanted_ghosts = site.out_channels - intrinsic
        self.primary_conv = nn.Conv2d(
            site.in_channels,
            intrinsic,
            site.kernel_size,
            site.stride,
            site.padding,
            site.dilation,
            site.groups,
            bias=False,
        )
        self.primary_norm = nn.BatchNorm2d(intrinsic)
        self.primary_act = _activation(site.act_type)
        self.cheap_conv = nn.Conv2d(
            intrinsic, ghosts, settings.dw, padding=settings.dw // 2, groups=intrinsic, bias=False
        )
        self.cheap_norm = nn.BatchNorm2d(ghosts)
        self.cheap_act = _activation(site.act_type)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the convolutions anew (He, fan out) and set the norms to identity."""
        for conv in (self.primary_conv, self.cheap_conv):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        for norm in (self.primary_norm, self.cheap_norm):
            norm.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, normalise and activate.

        Args:
            x: (N, M, H, W).

        Returns:
            (N, L, H', W'); the first ceil(L / s) channels are the dense ones.
        """
        intrinsic = self.primary_act(self.primary_norm(self.primary_conv(x)))
        ghosts = self.cheap_act(self.cheap_norm(self.cheap_conv(intrinsic)))
        return torch.cat([intrinsic, ghosts[:, : self.wanted_ghosts]], dim=1)


def _activation(name: str) -> nn.Module:
    if not name:
        return nn.Identity()
    if name not in _ACTIVATIONS:
        raise UnsupportedNetworkError(
            f"ghost makes the network's activations anew and knows no {name!r}; "
            f"known: {', '.join(sorted(_ACTIVATIONS))}"
        )
    kind = _ACTIVATIONS[name]
    return kind(inplace=True) if "inplace" in signature(kind).parameters else kind()


def plan(sites: Sequence[Site], settings: Settings) -> Replacements:
    """Replace each convolution with its norm and activation.

    Args:
        sites: Dense convolutions that a norm follows.
        settings: Of the Ghost module.
    """
    return {site.name: Ghost(site, settings) for site in sites}
