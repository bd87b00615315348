"""Where AddressNet's blocks (`shift.block.AddressBlock`, arXiv 1809.08458) go."""

from __future__ import annotations

from collections.abc import Sequence

from backbones.method import Replacements
from backbones.methods.shift import Settings, place_of, variant_of
from backbones.shift.block import AddressBlock
from backbones.shift.shape import shapes
from backbones.sites import Site


def plan(sites: Sequence[Site], settings: Settings) -> Replacements:
    """Replace the blocks; those of one stage share room for their shortcut shifts.

    Args:
        sites: Residual blocks.
        settings: Of the shift primitives.
    """
    variant = variant_of(settings)
    stages: dict[str, list[Site]] = {}
    for site in sites:
        stages.setdefault(site.name.rpartition(".")[0], []).append(site)
    return {
        site.name: AddressBlock(shape)
        for group in stages.values()
        for site, shape in zip(group, shapes([place_of(s) for s in group], variant), strict=True)
    }
