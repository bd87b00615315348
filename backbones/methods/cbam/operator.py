"""Convolutional block attention: y = x1 * g(x1), x1 = x * w(x)  (arXiv 1807.06521, section 3).

w = sigmoid(MLP(mean x) + MLP(max x)) over places, g = sigmoid(norm(conv [max x1, mean x1])) over
channels. Shape suffixes: N images, C channels, H and W places.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.gate import ChannelGate, Gate, InPlaceGate
from backbones.method import Replacements
from backbones.methods.cbam import Settings
from backbones.products import is_plain
from backbones.sites import Site

_AUTHORS_MOMENTUM = 0.01
_FEW_CHANNELS = 32
"""Channels below which a maximum over a channels-last map takes ten times its reading."""


class PeakedExcitation(ChannelGate):
    """Weigh the channels of a map by their means and their maxima.

    Args:
        channels: Channels of the map (C).
        settings: Of CBAM.
    """

    def __init__(self, channels: int, settings: Settings) -> None:
        super().__init__()
        hidden, bias = hidden_channels(channels, settings), settings.form == "authors"
        self.squeeze = nn.Linear(channels, hidden, bias=bias)
        self.excite = nn.Linear(hidden, channels, bias=bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw both layers anew: PyTorch's default without a shift, timm's as its convolutions."""
        for layer in (self.squeeze, self.excite):
            if layer.bias is None:
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            else:
                layer.reset_parameters()
                nn.init.zeros_(layer.bias)

    def logits(self, mean_NC: Tensor) -> Tensor:
        """Squeeze and excite."""
        logits_NC: Tensor = self.excite(self.squeeze(mean_NC).relu())
        return logits_NC

    def weigh(self, x: Tensor) -> Tensor:
        """Return what the channels are scaled by, (N, C, 1, 1) in 0..1."""
        seen = _by_plane(x)
        pooled = torch.cat((seen.mean((2, 3)), seen.amax((2, 3))))
        from_mean, from_peak = self.logits(pooled).chunk(2)
        weight_NC: Tensor = self.gate(from_mean + from_peak)
        return weight_NC[:, :, None, None]


class SpatialGate(Gate):
    """Weigh the places of a map by the maximum and the mean of their channels.

    Args:
        settings: Of CBAM.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.is_authors = settings.form == "authors"
        self.conv = nn.Conv2d(2, 1, settings.kernel, padding=settings.kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(1)
        if self.is_authors:
            self.norm.momentum = _AUTHORS_MOMENTUM
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the convolution anew (He, fan out); the authors' norm starts at nought."""
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        self.norm.reset_parameters()
        if self.is_authors:
            nn.init.zeros_(self.norm.weight)

    def weigh(self, x: Tensor) -> Tensor:
        """Return what the places are scaled by, (N, 1, H, W) in 0..1."""
        seen = _by_plane(x)
        planes = [seen.amax(1, keepdim=True), seen.mean(1, keepdim=True)]
        pooled = torch.cat(planes if self.is_authors else planes[::-1], dim=1)
        weight_N1HW: Tensor = self.gate(self._normalise(self.conv(pooled)))
        return weight_N1HW

    def _normalise(self, y_N1HW: Tensor) -> Tensor:
        norm = self.norm
        if self.training and y_N1HW.numel() == 1:
            return functional.batch_norm(
                y_N1HW, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
            )
        normalised: Tensor = norm(y_N1HW)
        return normalised


class BlockAttention(nn.Module):
    """Weigh the channels of a map, then its places.

    Args:
        channels: Channels of the map (C).
        settings: Of CBAM.
    """

    def __init__(self, channels: int, settings: Settings) -> None:
        super().__init__()
        self.channel = PeakedExcitation(channels, settings) if settings.channel else None
        self.spatial = SpatialGate(settings) if settings.spatial else None

    def reset_parameters(self) -> None:
        """Draw both gates anew."""
        for gate in (self.channel, self.spatial):
            if gate is not None:
                gate.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map.

        Args:
            x: (N, C, H, W).

        Returns:
            (N, C, H, W) in the layout of `x`.
        """
        for gate in (self.channel, self.spatial):
            if gate is not None:
                x = gate(x)
        return x

    def fused(self) -> nn.Module:
        """Return both gates for inference, which overwrite the map that comes in."""
        gates = (self.channel, self.spatial)
        return nn.Sequential(*(InPlaceGate(gate) for gate in gates if gate is not None))


def _by_plane(x: Tensor) -> Tensor:
    """Lay a map out channel by channel where that is worth it."""
    return x.contiguous() if x.shape[1] < _FEW_CHANNELS and is_plain(x) else x


def hidden_channels(channels: int, settings: Settings) -> int:
    """Return C / r, rounded as the form has it, at least one."""
    rounding = 0.0 if settings.form == "authors" else 0.5
    return max(1, int(channels / settings.reduction + rounding))


def plan(sites: Sequence[Site], settings: Settings) -> Replacements:
    """Put both gates at each site.

    Args:
        sites: Gates.
        settings: Of CBAM.
    """
    return {site.name: BlockAttention(site.out_channels, settings) for site in sites}
