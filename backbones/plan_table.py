"""What the methods of a backbone plan for its layers. No torch where the sites are known."""

from __future__ import annotations

from dataclasses import replace

from backbones import method as registry
from backbones import network as networks
from backbones.check import known_sites
from backbones.errors import UnsupportedNetworkError
from backbones.resolve import Resolved, resolve
from backbones.selection import select
from backbones.sites import Role, Site, sites
from backbones.table import Table


def plan_tables(
    text: str | Resolved, *, classes: int = 1000, image_size: int | None = None
) -> tuple[Table, ...]:
    """Return the tables that the methods of a backbone have about their plans.

    Args:
        text: The backbone.
        classes: Width of the classifier.
        image_size: Side of the input in pixels; None: the network's usual one.

    Raises:
        BackboneError: The backbone is wrong, or none of its methods has a table
            (UnsupportedNetworkError).
    """
    resolved = resolve(text)
    offering = {
        name: tables
        for name in registry.modules()
        if (tables := registry.get(name).tables) is not None
    }
    if not any(name in offering for name, _ in resolved.methods):
        raise UnsupportedNetworkError(
            f"{resolved}: no method of it shares kernels between layers, so there is no plan to "
            f"show; methods that have one: {', '.join(offering)}"
        )
    found = _sites(resolved, classes=classes, image_size=image_size)
    return tuple(
        table
        for name, settings in resolved.methods
        if name in offering
        for table in offering[name](
            select(name, settings, found, network=resolved.network), settings
        )
    )


def _sites(resolved: Resolved, *, classes: int, image_size: int | None) -> list[Site]:
    usual_px = networks.usual_image_size(resolved.network, resolved.options)
    image_size = image_size or usual_px
    is_usual = resolved.options == networks.Options() and image_size == usual_px
    if is_usual and (known := known_sites(resolved.network)):
        return [
            replace(site, out_channels=classes) if site.role is Role.CLASSIFIER else site
            for site in known
        ]
    return sites(resolved, image_size=image_size, classes=classes)
