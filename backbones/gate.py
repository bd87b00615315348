"""Gates that scale a map by numbers in 0..1: what SE, ECA and CBAM have in common.

Shape suffixes: N images, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from backbones.attention_map import Axis, Map, Section, by_stage, capture, over_images
from backbones.products import is_plain
from backbones.sites import Site

Kinds = tuple[type[nn.Module], ...]
Products = list[tuple[Tensor, Tensor | None]]
"""Matrices (inputs, outputs), each with what is added then."""

_RANGES = 10
_HALF_OPEN = 0.5


class Gate(nn.Module):
    """Scale a map by numbers in 0..1 that follow from it.

    A kind of gate says in `weigh` by which; what leaves `gate` is what pages show.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Sigmoid()

    def weigh(self, x: Tensor) -> Tensor:
        """Return what (N, C, H, W) is scaled by: (N, C, 1, 1) or (N, 1, H, W) in 0..1."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map.

        Args:
            x: (N, C, H, W).

        Returns:
            (N, C, H, W) in the layout of `x`, scaled by numbers in 0..1.
        """
        return x * self.weigh(x)

    def fused(self) -> nn.Module:
        """Return the gate for inference, which overwrites the map that comes in."""
        return InPlaceGate(self)


class ChannelGate(Gate):
    """Scale each channel by a number that follows from the means of all.

    A kind of gate says in `logits` what becomes of the means.
    """

    def logits(self, mean_NC: Tensor) -> Tensor:
        """Return (N, C) numbers of any size from the means of the channels."""
        raise NotImplementedError

    def weigh(self, x: Tensor) -> Tensor:
        """Return what the channels are scaled by, (N, C, 1, 1) in 0..1."""
        weight_NC: Tensor = self.gate(self.logits(x.mean((2, 3))))
        return weight_NC[:, :, None, None]


class InPlaceGate(nn.Module):
    """A gate that scales the very map that it is given, where no gradient is recorded.

    A gate stands behind the last layer of a block's main path, whose map nothing else reads. Making
    room for another one takes longer than scaling it.

    Args:
        source: The gate.
    """

    def __init__(self, source: Gate) -> None:
        super().__init__()
        self.source = source

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map.

        Args:
            x: (N, C, H, W); its numbers are lost.

        Returns:
            (N, C, H, W), as the gate.
        """
        if not is_plain(x):
            gated: Tensor = self.source(x)
            return gated
        return x.mul_(self.source.weigh(x))


class ProductGate(nn.Module):
    """A gate of channels whose logits are products of the means with matrices, for inference.

    It does what an `InPlaceGate` of such a gate does in as few calls as can be: on small maps the
    calls take longer than what they compute.

    Args:
        layers: Matrix (inputs, outputs) and shift of each product; ReLU stands between two.
    """

    def __init__(self, *layers: tuple[Tensor, Tensor | None]) -> None:
        super().__init__()
        for number, (matrix, shift) in enumerate(layers):
            self.register_buffer(f"matrix{number}", matrix.detach().contiguous())
            self.register_buffer(f"shift{number}", None if shift is None else shift.detach())
        self.products = len(layers)
        self._ready: tuple[int, Products] = (0, [])

    def forward(self, x: Tensor) -> Tensor:
        """Gate a map.

        Args:
            x: (N, C, H, W); its numbers are lost where no gradient is recorded on a CPU.

        Returns:
            (N, C, H, W), as the gate.
        """
        is_own = is_plain(x)
        # sums have no room in half precision
        if is_own and x.dtype is torch.float32 and not torch.is_autocast_enabled("cpu"):
            places = x.shape[2] * x.shape[3]
            if self._ready[0] != places:
                self._ready = (places, self._of_sums(places))
            value, products = x.sum((2, 3)), self._ready[1]
        else:
            value, products = x.mean((2, 3)), self._of_sums(1)
        for number, (matrix, shift) in enumerate(products):
            value = value.relu_() if number else value
            value = torch.mm(value, matrix) if shift is None else torch.addmm(shift, value, matrix)
        weight_NC11 = value.sigmoid_()[:, :, None, None]
        return x.mul_(weight_NC11) if is_own else x * weight_NC11

    def _of_sums(self, places: int) -> Products:
        """Return the products, the first for sums over so many places instead of means."""
        found = []
        for number in range(self.products):
            matrix = self.get_buffer(f"matrix{number}")
            by = matrix if number or places == 1 else matrix / places
            found.append((by, self._buffers[f"shift{number}"]))
        return found

    def _apply(self, *arguments: Any, **named: Any) -> Self:
        self._ready = (0, [])
        moved = super()._apply(*arguments, **named)  # type: ignore[no-untyped-call]  # torch's gap
        return cast("Self", moved)


def channel_maps(
    network: nn.Module, images: Tensor, *, sites: Sequence[Site], kinds: Kinds, method: str
) -> list[Map]:
    """Return what the gates of a network say: the spread in each layer, and each channel by stage.

    Layers are as wide as their stage, so only those of one stage share a map; how their gates are
    spread over 0..1 can be compared between all.

    Args:
        network: In evaluation mode.
        images: (N, 3, S, S).
        sites: The gates' places.
        kinds: Classes of the gates.
        method: Its name, for titles.
    """
    weights = captured(network, images, sites=sites, kinds=kinds)
    if not weights:
        return []
    title = f"{method} gate of each channel"
    stages = by_stage(weights, title=title, stages="gates of stage", neutral=_HALF_OPEN)
    return [_of_ranges(weights, method), *stages]


def captured(
    network: nn.Module, images: Tensor, *, sites: Sequence[Site], kinds: Kinds
) -> dict[Site, Tensor]:
    """Return what gates say over images.

    Args:
        network: In evaluation mode.
        images: (N, 3, S, S).
        sites: The gates' places.
        kinds: Classes of the gates; what they say comes from their `gate`.

    Returns:
        Site to (N, ...), in the order of the sites.
    """
    gates = [
        f"{name}.gate" for name, module in network.named_modules() if isinstance(module, kinds)
    ]
    said = capture(network, images, kind=nn.Sigmoid)
    return {
        site: said[name] for site in sites for name in gates if name.startswith(f"{site.name}.")
    }


def _of_ranges(weights: Mapping[Site, Tensor], method: str) -> Map:
    """Return which share of a layer's channels has its gate in which tenth of 0..1."""
    tenths = torch.arange(_RANGES)
    shares = [
        ((value * _RANGES).long().clamp(max=_RANGES - 1)[..., None] == tenths).float().mean(1)
        for value in weights.values()
    ]
    mean, spread = over_images(torch.stack(shares, dim=1))
    rows = Axis("layer", tuple(Section(site.block_name, 1) for site in weights))
    names = (f"{tenth / _RANGES:g} to {(tenth + 1) / _RANGES:g}" for tenth in range(_RANGES))
    columns = Axis("tenth", tuple(Section(name, 1) for name in names))
    title = f"Share of channels whose {method} gate is in each tenth of 0 to 1"
    return Map("all gates", title, rows, columns, mean, spread=spread)
