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
        sites_taken: Sites that the methods took.
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
    taken = sum(
        len(select(name, settings, found, network=resolved.network))
        for name, settings in resolved.methods
        if name != PLAIN
    )
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
        sites_total=sum(site.kind in {"conv2d", "linear"} for site in found),
        sites_taken=taken,
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
