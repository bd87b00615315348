"""The warehouses of a network for people to read. No torch here."""

from __future__ import annotations

from collections.abc import Sequence

from backbones.methods.kernel_warehouse.partition import Cell, Warehouse, partition
from backbones.methods.kernel_warehouse.settings import Settings
from backbones.sites import Site
from backbones.table import Cell as Entry
from backbones.table import Table

_COLUMNS = ("warehouse", "layers", "kernels", "cell", "mixtures", "m", "n")
_NOTE = "m: mixtures of all layers together; n: cells of the warehouse"


def tables(sites: Sequence[Site], settings: Settings) -> tuple[Table]:
    """List the warehouses: layers, cell, mixtures of each layer and of all (m), cells (n).

    Args:
        sites: The taken sites.
        settings: The method's settings.

    Raises:
        SettingError: As `partition` does.
    """
    rows = tuple(_row(part) for part in partition(sites, settings))
    return (Table("warehouses", _COLUMNS, rows, note=_NOTE),)


def _row(part: Warehouse) -> tuple[Entry, ...]:
    return (
        part.name,
        tuple(share.site.name for share in part.shares),
        tuple(_kernel(share.site) for share in part.shares),
        _shape(part.cell),
        tuple(share.mixtures for share in part.shares),
        part.mixtures,
        part.cells,
    )


def _kernel(site: Site) -> str:
    sizes = (site.out_channels, site.in_channels // site.groups, *site.kernel_size)
    return "x".join(map(str, sizes))


def _shape(cell: Cell) -> str:
    whole = (cell.height, cell.width) if (cell.height, cell.width) != (1, 1) else ()
    return "x".join(map(str, (cell.out_channels, cell.in_channels, *whole)))
