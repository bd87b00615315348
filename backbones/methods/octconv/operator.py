"""Octave convolution: four paths between high and low channels (arXiv 1904.05049, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.fusion.conv import FoldedConv2d
from backbones.method import Replacements
from backbones.methods.octconv import Settings, low_channels
from backbones.sites import Pair, Site

Part = Literal["high", "low"]


class Octave(nn.Module):
    """Four paths between high and low channels; a kind of layer says in `convolve` what each does.

    Args:
        channels: In and out.
        low: How many of them are low in frequency.
        is_strided: Whether sides are halved.
    """

    def __init__(self, channels: Pair, low: Pair, *, is_strided: bool) -> None:
        super().__init__()
        self.channels, self.low, self.is_strided = channels, low, is_strided
        self.inputs = _parts(channels[0], low[0])
        self.outputs = _parts(channels[1], low[1])

    def convolve(self, x: Tensor, source: Part, target: Part) -> Tensor:
        """Map the channels of one part to what they give to another."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: (N, M, H, W); low channels last, at the full side.

        Returns:
            (N, L, H', W'); low channels last, each value in a square of four.
        """
        high, low = x[:, self.inputs["high"]], None
        if self.low[0]:
            low = _halved(x[:, self.inputs["low"]])
        if self.is_strided:
            high = _halved(high)
        y_high = self._to_high(high, low)
        if not self.low[1]:
            return y_high
        height, width = y_high.shape[-2:]
        return torch.cat((y_high, _doubled(self._to_low(high, low), height, width)), dim=1)

    def _to_high(self, high: Tensor, low: Tensor | None) -> Tensor:
        y = self.convolve(high, "high", "high")
        if low is None:
            return y
        from_low = self.convolve(low, "low", "high")
        if not self.is_strided:
            from_low = _doubled(from_low, y.shape[2], y.shape[3])
        return y + from_low

    def _to_low(self, high: Tensor, low: Tensor | None) -> Tensor:
        y = self.convolve(_halved(high), "high", "low")
        if low is None:
            return y
        low = _halved(low) if self.is_strided else low
        return y + self.convolve(low, "low", "low")


class OctConv(Octave):
    """Convolve the last channels, in and out, at half the side.

    Args:
        site: The convolution that it stands for.
        low: How many channels are low in frequency, in and out.

    Attributes:
        weight: (L, M, k, k), that of the plain convolution: high channels first.
        bias: (L) or None.
    """

    def __init__(self, site: Site, low: Pair) -> None:
        channels = (site.in_channels, site.out_channels)
        super().__init__(channels, low, is_strided=site.stride == (2, 2))
        self.padding, self.dilation = site.padding, site.dilation
        self.weight = nn.Parameter(
            torch.empty(site.out_channels, site.in_channels, *site.kernel_size)
        )
        self.bias = nn.Parameter(torch.empty(site.out_channels)) if site.bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the kernel anew (He, fan out); biases begin at zero."""
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def convolve(self, x: Tensor, source: Part, target: Part) -> Tensor:
        """Convolve with a part of the weight."""
        weight, bias = self.path(source, target)
        return functional.conv2d(x, weight, bias, padding=self.padding, dilation=self.dilation)

    def path(self, source: Part, target: Part) -> tuple[Tensor, Tensor | None]:
        """Return a part of the weight; the bias comes with what high channels give."""
        rows = self.outputs[target]
        bias = self.bias[rows] if self.bias is not None and source == "high" else None
        return self.weight[rows, self.inputs[source]], bias

    def fused(self) -> FusedOctConv:
        """Return the same for inference (see `fusion.Fuses`)."""
        return FusedOctConv(self)


class FusedOctConv(Octave):
    """The same for inference, with a convolution for each path."""

    def __init__(self, layer: OctConv) -> None:
        super().__init__(layer.channels, layer.low, is_strided=layer.is_strided)
        sources: list[Part] = ["high", "low"] if layer.low[0] else ["high"]
        targets: list[Part] = ["high", "low"] if layer.low[1] else ["high"]
        self.paths = nn.ModuleDict(
            {
                f"{source} to {target}": _conv(*layer.path(source, target), layer)
                for source in sources
                for target in targets
            }
        )

    def absorb(self, scale: Tensor, shift: Tensor) -> None:
        """Take up a norm that follows (see `fusion.Absorbs`)."""
        for name, conv in self.paths.items():
            source, _, target = name.split()
            rows = self.outputs["high" if target == "high" else "low"]
            added = shift[rows] if source == "high" else torch.zeros_like(shift[rows])
            self.paths[name] = FoldedConv2d(cast("FoldedConv2d", conv), (scale[rows], added))

    def convolve(self, x: Tensor, source: Part, target: Part) -> Tensor:
        """Convolve along one path."""
        y: Tensor = self.paths[f"{source} to {target}"](x)
        return y


def _parts(channels: int, low: int) -> dict[Part, slice]:
    return {"high": slice(0, channels - low), "low": slice(channels - low, channels)}


def _conv(weight: Tensor, bias: Tensor | None, layer: OctConv) -> FoldedConv2d:
    outputs, inputs, height, width = weight.shape
    conv = nn.Conv2d(
        inputs,
        outputs,
        (height, width),
        padding=layer.padding,
        dilation=layer.dilation,
        bias=bias is not None,
        device="meta",
    )
    conv.weight = nn.Parameter(weight.detach(), requires_grad=False)
    if bias is not None:
        conv.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return FoldedConv2d(conv)


def _halved(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)


def _doubled(x: Tensor, height: int, width: int) -> Tensor:
    """Repeat each pixel in a square, and cut what an odd side does not have."""
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")[:, :, :height, :width]


def plan(sites: Sequence[Site], settings: Settings) -> Replacements:
    """Replace each convolution.

    Args:
        sites: Dense convolutions that have low channels.
        settings: Of OctConv.
    """
    low = low_channels(sites, settings)
    return {site.name: OctConv(site, low[site.name]) for site in sites}
