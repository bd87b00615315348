"""Cut kernels into cells and count what each layer gets of its warehouse. No torch here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from backbones.errors import SettingError
from backbones.methods.kernel_warehouse import layout
from backbones.methods.kernel_warehouse.settings import Settings
from backbones.sites import Site

_BUDGETS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0, 2.0, 3.0, 4.0, 8.0, 16.0)
"""Budgets that are tried when one is refused."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Shape of a kernel cell; height and width are 1 unless kernels are left whole."""

    out_channels: int
    in_channels: int
    height: int = 1
    width: int = 1

    @property
    def size(self) -> int:
        """Numbers in a cell."""
        return self.out_channels * self.in_channels * self.height * self.width


@dataclass(frozen=True, slots=True)
class Share:
    """What one layer has of a warehouse.

    Mixture ``i = (s * out_groups + p) * in_groups + q`` fills the kernel at spatial position ``s``
    (row by row), output channels ``p * cell.out_channels`` onwards and input channels ``q *
    cell.in_channels`` onwards.

    Attributes:
        site: The layer.
        positions: Spatial positions that a cell is repeated over.
        out_groups: Cells along the output channels.
        in_groups: Cells along the input channels.
        first: Index of the first cell that the layer owns.
        owned: Number of cells that it owns, ``int(b * mixtures)``.
        hidden: Width of its attention's hidden layer.
    """

    site: Site
    positions: int
    out_groups: int
    in_groups: int
    first: int
    owned: int
    hidden: int

    @property
    def mixtures(self) -> int:
        """Cells of the layer's kernel (m)."""
        return self.positions * self.out_groups * self.in_groups


@dataclass(frozen=True, slots=True)
class Warehouse:
    """Cells that several layers share.

    Attributes:
        name: Stage and kind of its layers.
        cell: Shape of each cell.
        budget: Cells per mixture (b) of this warehouse.
        cells: Number of cells (n); the dummy cell is not counted.
        reach: Cells that one mixture weighs: all of them, or where nothing is shared the b cells of
            its own, which lie one mixture after the other.
        shares: Its layers, in the order in which they stand in the network.
    """

    name: str
    cell: Cell
    budget: float
    cells: int
    reach: int
    shares: tuple[Share, ...]

    @property
    def mixtures(self) -> int:
        """Mixtures of all layers (m_t)."""
        return sum(share.mixtures for share in self.shares)


class _Unservable(Exception):
    """The partition cannot serve the settings; the text says where and why."""


def partition(sites: Sequence[Site], settings: Settings) -> tuple[Warehouse, ...]:
    """Divide the sites that the method takes into warehouses.

    Args:
        sites: Sites in the order in which the modules stand in the network; those not taken are
            left out.
        settings: The method's settings.

    Returns:
        Warehouses in the order of the released code.

    Raises:
        SettingError: The budget or the cell ratios do not fit these layers (says which budgets
            would), or two settings contradict each other.
    """
    _require_consistent(settings)
    taken = [site for site in sites if layout.takes(site, settings)]
    try:
        return _partition(taken, settings)
    except _Unservable as fault:
        fitting = [b for b in _BUDGETS if _serves(taken, settings.model_copy(update={"budget": b}))]
        would_do = (
            f"budgets that fit with these cells: {', '.join(f'{b:g}' for b in fitting)}"
            if fitting
            else "no budget fits these cells; leave cell_out_ratio and cell_in_ratio unset"
        )
        raise SettingError(
            f"kernel_warehouse(budget={settings.budget:g}): {fault}; {would_do}"
        ) from None


def _require_consistent(settings: Settings) -> None:
    """Refuse what no budget would mend."""
    if settings.sharing == "none" and settings.startup == "one_to_two":
        raise SettingError(
            "kernel_warehouse: startup=one_to_two lends a cell to a second mixture, which "
            "sharing=none does not allow; choose startup=one_to_one or sharing=layer"
        )
    if settings.stage3 == "split" and settings.layout != "convnext":
        raise SettingError(
            "kernel_warehouse: stage3=split divides the third stage of a ConvNeXt, this network is "
            f"replaced by the rules {settings.layout!r}; leave stage3 unset"
        )


def check(sites: Sequence[Site], settings: Settings) -> None:
    """Refuse settings that these sites cannot serve.

    Raises:
        SettingError: As `partition` does.
    """
    partition(sites, settings)


def _serves(sites: Sequence[Site], settings: Settings) -> bool:
    try:
        _partition(sites, settings)
    except _Unservable:
        return False
    return True


def _partition(sites: Sequence[Site], settings: Settings) -> tuple[Warehouse, ...]:
    return tuple(
        _warehouse(group, members, settings)
        for group, members in layout.groups(sites, settings).items()
    )


def _warehouse(group: layout.Group, sites: Sequence[Site], settings: Settings) -> Warehouse:
    rule = layout.cell_rule(group, settings)
    cell = _cell(sites, rule, settings)
    shares: list[Share] = []
    first = 0
    for site in sites:
        share = _share(site, cell, first=first, rule=rule, settings=settings)
        _require_servable(share, rule, settings)
        shares.append(share)
        first += share.owned
    cells = max(int(sum(share.mixtures for share in shares) * rule.budget), 1)
    if first != cells:
        raise _Unservable(f"warehouse {group} has {cells} cells but its layers own {first}")
    reach = int(rule.budget) if settings.sharing == "none" else cells
    return Warehouse(str(group), cell, rule.budget, cells, reach, tuple(shares))


def _cell(sites: Sequence[Site], rule: layout.CellRule, settings: Settings) -> Cell:
    out_gcd = math.gcd(*(site.out_channels for site in sites))
    in_gcd = math.gcd(*(site.in_channels // site.groups for site in sites))
    if not settings.partition:
        return Cell(out_gcd, in_gcd, *sites[0].kernel_size)
    return Cell(max(int(out_gcd * rule.out_ratio), 1), max(int(in_gcd * rule.in_ratio), 1))


def _share(
    site: Site, cell: Cell, *, first: int, rule: layout.CellRule, settings: Settings
) -> Share:
    in_channels = site.in_channels // site.groups
    if site.out_channels % cell.out_channels or in_channels % cell.in_channels:
        raise _Unservable(
            f"cells of {cell.out_channels}x{cell.in_channels} channels do not divide the "
            f"{site.out_channels}x{in_channels} of {site.name}"
        )
    positions = site.kernel_size[0] * site.kernel_size[1] // (cell.height * cell.width)
    out_groups, in_groups = site.out_channels // cell.out_channels, in_channels // cell.in_channels
    owned = int(rule.budget * positions * out_groups * in_groups)
    hidden = max(int(site.in_channels * settings.reduction_ratio), 16)
    return Share(site, positions, out_groups, in_groups, first, owned, hidden)


def _require_servable(share: Share, rule: layout.CellRule, settings: Settings) -> None:
    """One cell after another must be handed out, as many as the layer owns."""
    if rule.budget >= 1:
        if rule.budget != int(rule.budget):
            raise _Unservable("budgets above 1 are whole numbers")
    elif len(diagonal(share.mixtures, rule.budget)) != share.owned:
        raise _Unservable(
            f"{share.site.name} has {share.mixtures} mixtures and owns {share.owned} cells, but "
            f"the start-up assignment hands out {len(diagonal(share.mixtures, rule.budget))}"
        )
    if settings.sharing == "none" and rule.budget < 1:
        raise _Unservable("sharing=none gives each mixture cells of its own, one at least")
    if settings.startup == "several_to_one" and rule.budget < 2:
        raise _Unservable(
            "startup=several_to_one needs several cells a mixture, a budget of 2 at least"
        )


def diagonal(mixtures: int, budget: float) -> tuple[int, ...]:
    """Name the mixtures that start from a cell of their own below budget 1; others from nothing.

    With ``M = int(1 / budget)`` mixture i is one of them when ``i mod M == (i div M) mod M``, which
    leaves the kernel block-diagonal as in a convolution with M groups.
    """
    period = int(1 / budget)
    return tuple(i for i in range(mixtures) if i % period == (i // period) % period)
