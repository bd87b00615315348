"""What is known about a backbone before training: cost, sites, what its paper prints."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from backbones.cost import cost
from backbones.method import Published, published
from backbones.network import usual_image_size
from backbones.resolve import PLAIN, Resolved, resolve
from backbones.selection import select
from backbones.sites import sites

_LAYERS = frozenset({"conv2d", "linear"})


@dataclass(frozen=True)
class Description:
    """A backbone in figures.

    Attributes:
        backbone: Canonical text.
        network: Base network.
        methods: Methods with all their settings.
        params: Parameters.
        madds: Multiply-adds for one image, assembly included (see `cost`).
        madds_assembly: The part that assembles kernels.
        sites_total: Convolutions and linear layers of the plain network.
        sites_taken: Those that the methods replaced.
        blocks_taken: Residual blocks that the methods put a gate into, or replaced.
        published: Rows that papers print for exactly this backbone.
        image_size: Side of the input in pixels for which it was counted.
        classes: Width of the classifier.
    """

    backbone: str
    network: str
    methods: tuple[dict[str, Any], ...]
    params: int
    madds: int
    madds_assembly: int
    sites_total: int
    sites_taken: int
    blocks_taken: int
    published: tuple[Published, ...]
    image_size: int
    classes: int

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            **asdict(self),
            "published": [
                row.model_dump(mode="json", exclude_defaults=True) for row in self.published
            ],
        }


def describe(
    text: str | Resolved, *, classes: int = 1000, image_size: int | None = None
) -> Description:
    """Build a backbone on the `meta` device and say what it is.

    Args:
        text: The backbone.
        classes: Width of the classifier.
        image_size: Side of the input in pixels; None: the network's usual one.

    Raises:
        BackboneError: It cannot be built.
    """
    resolved = resolve(text)
    image_size = image_size or usual_image_size(resolved.network, resolved.options)
    found = sites(resolved, image_size=image_size, classes=classes)
    counted = cost(resolved, classes=classes, image_size=image_size)
    taken = [
        site
        for name, settings in resolved.methods
        if name != PLAIN
        for site in select(name, settings, found, network=resolved.network)
    ]
    layers = sum(site.kind in _LAYERS for site in taken)
    return Description(
        backbone=str(resolved),
        network=resolved.network,
        methods=tuple(
            {"name": name, "settings": settings.model_dump(mode="json")}
            for name, settings in resolved.methods
        ),
        params=counted.params,
        madds=counted.madds,
        madds_assembly=counted.madds_assembly,
        sites_total=sum(site.kind in _LAYERS for site in found),
        sites_taken=layers,
        blocks_taken=len(taken) - layers,
        published=published_rows(resolved),
        image_size=image_size,
        classes=classes,
    )


def published_rows(text: str | Resolved) -> tuple[Published, ...]:
    """Return the rows that papers print for exactly this backbone. Needs no torch."""
    resolved = resolve(text)
    return tuple(
        row
        for name, _ in resolved.methods
        for row in published(name)
        if resolve(row.backbone).digest == resolved.digest
    )
