"""Attentions as matrices: what a method weighs in a trained network, over given images.

A method that has them keeps a module ``maps.py`` in its folder with ``maps(network, images, *,
sites, settings) -> list[Map]``. Whether there is one is known without torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from backbones import method as registry
from backbones.resolve import Resolved, resolve
from backbones.selection import select
from backbones.sites import Site, Slot, sites

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    Matrix = NDArray[np.float32]

_MODULE = "maps"
_AT_ONCE = 16
"""Images of one forward pass."""


@dataclass(frozen=True)
class Section:
    """Rows or columns that stand together, those of one layer, say."""

    name: str
    length: int


@dataclass(frozen=True)
class Axis:
    """One side of a map: what a row (or column) is, and which sections they fall into."""

    label: str
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Map:
    """A matrix of weights.

    Attributes:
        group: What it belongs to: a warehouse, or the layers of a network.
        title: What the weights are.
        rows: The axis from top to bottom.
        columns: The axis from left to right.
        values: (rows, columns) weights; the mean over the images where they depend on them.
        spread: Their standard deviation over the images, or None where they do not depend on them.
        note: Under what conditions they hold, such as a temperature; may be empty.
        neutral: The weight that favours nothing, around which colours are spread.
    """

    group: str
    title: str
    rows: Axis
    columns: Axis
    values: Matrix
    spread: Matrix | None = None
    note: str = ""
    neutral: float = 0.0


Maps = Callable[..., Sequence[Map]]


def offers(text: str | Resolved) -> bool:
    """Return whether a method of the backbone has maps. No torch."""
    return any(_has_maps(name) for name, _ in resolve(text).methods)


def offering() -> list[str]:
    """Name the methods that have maps. No torch."""
    return [name for name in registry.modules() if _has_maps(name)]


def attention_maps(
    text: str | Resolved, network: nn.Module, images: Tensor, *, classes: int
) -> list[Map]:
    """Return the maps of all methods of a backbone that have any.

    Args:
        text: The backbone.
        network: As `build` made it from `text`, with any weights; left in evaluation mode.
        images: (N, 3, S, S), at least one.
        classes: Width of the classifier.
    """
    resolved = resolve(text)
    found = sites(resolved, image_size=images.shape[-1], classes=classes)
    network.eval()
    return [
        one
        for name, settings in resolved.methods
        if _has_maps(name)
        for one in _load(name)(
            network,
            images,
            sites=select(name, settings, found, network=resolved.network),
            settings=settings,
        )
    ]


def capture(
    network: nn.Module,
    images: Tensor,
    *,
    kind: type[nn.Module],
    pick: Callable[[Any], Tensor | None] = lambda output: output,
    weigh: Callable[[Any, Tensor], Tensor | None] | None = None,
) -> dict[str, Tensor]:
    """Run a network and keep what its modules of one class say.

    Args:
        network: In the mode in which it is.
        images: (N, 3, S, S).
        kind: The class.
        pick: From what such a module returns to the (N, ...) tensor that is kept, or None.
        weigh: From the module and what comes in to that tensor, where what it weighs is no part of
            what it returns; in place of `pick`.

    Returns:
        Name of the module to (N, ...) float32 on the CPU, in the order of the forward pass.
    """
    import torch

    kept: dict[str, list[Tensor]] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            said = pick(output) if weigh is None else weigh(module, arguments[0])
            if said is not None:
                kept.setdefault(name, []).append(said.detach().float().cpu())

        return hook

    hooks = [
        module.register_forward_hook(keep(name))
        for name, module in network.named_modules()
        if isinstance(module, kind)
    ]
    try:
        with torch.no_grad():
            for some in torch.split(images, _AT_ONCE):
                network(some)
    finally:
        for handle in hooks:
            handle.remove()
    return {name: torch.cat(parts) for name, parts in kept.items()}


def over_images(weights: Tensor) -> tuple[Matrix, Matrix]:
    """Return mean and standard deviation of (N, rows, columns) over the images."""
    return weights.mean(0).numpy(), weights.std(0, correction=0).numpy()


def by_layer(weights: Mapping[str, Tensor], *, title: str, column: str, note: str) -> list[Map]:
    """Make the map of a method in which each layer weighs as many kernels of its own.

    Args:
        weights: Layer to its (N, K), in order.
        title: What the weights are.
        column: What a column is.
        note: Under what conditions they hold.

    Returns:
        One map, layers by kernels; none without layers.
    """
    import torch

    if not weights:
        return []
    mean, spread = over_images(torch.stack(list(weights.values()), dim=1))
    rows = Axis("layer", tuple(Section(name, 1) for name in weights))
    columns = Axis(column, (Section("", mean.shape[1]),))
    return [Map("all layers", title, rows, columns, mean, spread=spread, note=note)]


def by_stage(
    weights: Mapping[Site, Tensor], *, title: str, stages: str = "stage", neutral: float = 0.0
) -> list[Map]:
    """Make the maps of a method that weighs each channel: for each stage layers by channels.

    Args:
        weights: Site to its (N, C), in order.
        title: What the weights are.
        stages: What stands before the number of a stage, such as ``gates of stage``.
        neutral: The weight that favours nothing.

    Returns:
        A map for each stage, or for each width where a stage has several, in order.
    """
    import torch

    groups: dict[tuple[int, int], dict[Site, Tensor]] = {}
    for site, value in weights.items():
        groups.setdefault((site.stage, value.shape[1]), {})[site] = value
    found = []
    for (stage, channels), layers in groups.items():
        mean, spread = over_images(torch.stack(list(layers.values()), dim=1))
        rows = Axis("layer", tuple(Section(_layer_name(site), 1) for site in layers))
        columns = Axis("channel", (Section("", channels),))
        is_alone = sum(other == stage for other, _ in groups) == 1
        group = f"{stages} {stage}" if is_alone else f"{stages} {stage}, {channels} channels"
        found.append(Map(group, title, rows, columns, mean, spread=spread, neutral=neutral))
    return found


def _layer_name(site: Site) -> str:
    """A gate is known by its block, as the norm that it follows says little."""
    return site.block_name if Slot.GATE in site.slots else site.name


def _has_maps(name: str) -> bool:
    try:
        return find_spec(f"{registry.modules()[name]}.{_MODULE}") is not None
    except ModuleNotFoundError:  # a method from elsewhere that is one file
        return False


def _load(name: str) -> Maps:
    maps: Maps = importlib.import_module(f"{registry.modules()[name]}.{_MODULE}").maps
    return maps
