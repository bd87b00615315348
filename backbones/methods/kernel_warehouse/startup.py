"""The start-up assignment (beta): which cell each mixture begins with. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from backbones.methods.kernel_warehouse.partition import Share, Warehouse, diagonal
from backbones.methods.kernel_warehouse.settings import Settings

Entry = tuple[int, int, float]
"""Mixture of the layer, cell of the warehouse, weight."""


def assignment(share: Share, warehouse: Warehouse, settings: Settings) -> tuple[Entry, ...]:
    """Return what is not zero in a layer's beta, without the column of the dummy cell."""
    return tuple(_RULES[settings.startup](share, warehouse))


def _one_to_one(share: Share, warehouse: Warehouse) -> Iterable[Entry]:
    if warehouse.budget < 1:
        chosen = diagonal(share.mixtures, warehouse.budget)
        return ((i, share.first + k, 1.0) for k, i in enumerate(chosen))
    step = int(warehouse.budget)
    return ((i, share.first + i * step, 1.0) for i in range(share.mixtures))


def _all_to_one(share: Share, warehouse: Warehouse) -> Iterable[Entry]:
    """Every cell in reach with equal weight (the weight is our choice)."""
    if warehouse.reach < warehouse.cells:
        return _several_to_one(share, warehouse)
    weight = 1 / warehouse.cells
    return ((i, j, weight) for i in range(share.mixtures) for j in range(warehouse.cells))


def _several_to_one(share: Share, warehouse: Warehouse) -> Iterable[Entry]:
    """All `budget` cells of a mixture with equal weight (the weight is our choice)."""
    step = int(warehouse.budget)
    return (
        (i, share.first + i * step + k, 1 / step)
        for i in range(share.mixtures)
        for k in range(step)
    )


def _one_to_two(share: Share, warehouse: Warehouse) -> Iterable[Entry]:
    """Neighbouring mixtures begin with one cell; below budget 1 as many as come to a cell."""
    if warehouse.budget < 1:
        per_cell = share.mixtures / share.owned
        return ((i, share.first + int(i / per_cell), 1.0) for i in range(share.mixtures))
    step = int(warehouse.budget)
    return ((i, share.first + (i - i % 2) * step, 1.0) for i in range(share.mixtures))


def _none(share: Share, warehouse: Warehouse) -> Iterable[Entry]:
    del share, warehouse
    return ()


_RULES: Mapping[str, Callable[[Share, Warehouse], Iterable[Entry]]] = {
    "one_to_one": _one_to_one,
    "all_to_one": _all_to_one,
    "several_to_one": _several_to_one,
    "one_to_two": _one_to_two,
    "none": _none,
}
