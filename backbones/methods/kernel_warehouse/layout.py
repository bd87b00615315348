"""Which sites are replaced, and which of them share a warehouse. No torch here.

The rules of the released networks (OSVAI/KernelWarehouse), and one for any other network:

===========  ===================================  =============================================
layout       static                               shared within a stage
===========  ===================================  =============================================
resnet       stem, classifier                     all convolutions
bottleneck   the same, and in the very first      all convolutions
             block the first 1x1 and the shortcut
mobilenetv2  classifier; below budget 1 instead   depthwise; pointwise, at other budgets than 1
             the early pointwise layers           widening and narrowing apart; stem
convnext     classifier                           depthwise; pointwise; stem; each downsampling
general      stem, classifier, attention          dense; depthwise; grouped; each downsampling;
                                                  only equal shapes where cells get too small
transformer  stem, classifier                     all matrices, the attention's too (our choice)
===========  ===================================  =============================================

*Hand-over.* The layers at a stage's entrance count to the stage before, because their input
channels are still that stage's and would spoil the greatest common divisor: the first convolution
and the shortcut of its first block, or, where that block has a depthwise convolution, the whole
block. Where a downsampling layer leads in, nothing is handed over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from backbones.methods.kernel_warehouse.settings import Settings
from backbones.sites import Role, Site, Slot

_MOBILENETV2_GROUPS = (1, 2, 3, 4, 5, 6, 6)
"""Stage of the paper for each of the network's seven settings."""
_MOST_MIXTURES = 256
"""Mixtures (of cells as large as the divisors allow) up to which layers of different shape share
where no rules are known: attentions grow with the square of this number. The released ones stay
below 150, ConvNeXt's depthwise below 450."""
_OWN = {Role.STEM: "stem", Role.DOWNSAMPLE: "downsample", Role.CLASSIFIER: "classifier"}


@dataclass(frozen=True, slots=True)
class Group:
    """Layers that share a warehouse.

    Attributes:
        stage: Stage the layers count to.
        kind: ``conv``, ``depthwise``, ``grouped``, ``pointwise``, ``expand``, ``project``,
            ``stem``, ``downsample`` or ``classifier``.
        part: What sets groups of one stage and kind apart: third of a stage, kernel shape or layer.
    """

    stage: int
    kind: str
    part: str = ""

    def __str__(self) -> str:
        """Return the name of the warehouse."""
        stage = f"stage{self.stage}_" if self.stage >= 0 else ""
        return f"{stage}{self.kind}{f'_{self.part}' if self.part else ''}"


@dataclass(frozen=True, slots=True)
class CellRule:
    """How the cells of a warehouse are sized and counted.

    Attributes:
        budget: Cells per mixture (b).
        out_ratio: Output channels of a cell over the greatest common divisor of its layers'.
        in_ratio: The same for input channels.
    """

    budget: float
    out_ratio: float
    in_ratio: float


def takes(site: Site, settings: Settings) -> bool:
    """Whether the site's convolution or linear layer is replaced."""
    if Slot.CONV not in site.slots:
        return False
    match settings.layout:
        case "mobilenetv2":
            return _mobilenetv2_takes(site, settings)
        case "convnext":
            return site.role is not Role.CLASSIFIER
        case "transformer":
            return site.kind == "linear" and site.role is not Role.CLASSIFIER
        case "bottleneck" if (site.stage, site.block) == (0, 0):
            is_first = site.kernel_size == (1, 1) and site.name.endswith("conv1")
            return not is_first and site.role is not Role.SHORTCUT
        case _:
            return site.role not in {Role.STEM, Role.CLASSIFIER, Role.ATTENTION}


def _mobilenetv2_takes(site: Site, settings: Settings) -> bool:
    if settings.budget >= 1:
        return site.role is not Role.CLASSIFIER
    is_late = _mobilenetv2_stage(site) == _MOBILENETV2_GROUPS[-1]
    return is_late or site.role in {Role.STEM, Role.DEPTHWISE, Role.CLASSIFIER}


def _mobilenetv2_stage(site: Site) -> int:
    """A group's first block counts to the group before, what follows the blocks to the last."""
    if not 0 <= site.stage < len(_MOBILENETV2_GROUPS):
        return 0 if site.stage < 0 else _MOBILENETV2_GROUPS[-1]
    group = _MOBILENETV2_GROUPS[site.stage]
    before = _MOBILENETV2_GROUPS[max(site.stage - 1, 0)]
    return before if site.block == 0 else group


def groups(sites: Sequence[Site], settings: Settings) -> dict[Group, list[Site]]:
    """Divide the taken sites into groups that share a warehouse.

    Args:
        sites: The taken sites, in the order in which the modules stand in the network.
        settings: The method's settings.

    Returns:
        Groups in the order in which the released code numbers its warehouses (the first layer
        decides; ConvNeXt's stem and downsampling layers come before all others), each with its
        sites in their order.
    """
    entrances = _entrances(sites)
    found = _divide(sites, lambda site: _group(site, entrances, settings))
    if settings.layout == "convnext":
        return dict(sorted(found.items(), key=lambda pair: pair[0].kind not in _OWN.values()))
    if settings.layout == "general":
        crowded = {group for group, members in found.items() if _mixtures(members) > _MOST_MIXTURES}
        of_site = {site.name: group for group, members in found.items() for site in members}
        return _divide(
            sites,
            lambda site: (
                _of_shape(of_site[site.name], site)
                if of_site[site.name] in crowded
                else of_site[site.name]
            ),
        )
    return found


def _divide(sites: Sequence[Site], group_of: Callable[[Site], Group]) -> dict[Group, list[Site]]:
    found: dict[Group, list[Site]] = {}
    for site in sites:
        found.setdefault(group_of(site), []).append(site)
    return found


def _mixtures(sites: Sequence[Site]) -> int:
    """Mixtures of a group whose cells are as large as the greatest common divisors allow."""
    cell = math.gcd(*(site.out_channels for site in sites)) * math.gcd(
        *(site.in_channels // site.groups for site in sites)
    )
    return sum(
        site.out_channels * (site.in_channels // site.groups) * math.prod(site.kernel_size) // cell
        for site in sites
    )


def _of_shape(group: Group, site: Site) -> Group:
    shape = (site.out_channels, site.in_channels // site.groups, *site.kernel_size)
    return replace(group, part="x".join(map(str, shape)))


def _group(site: Site, entrances: set[str], settings: Settings) -> Group:
    if settings.layout == "mobilenetv2":
        group = _mobilenetv2_group(site, settings)
    elif site.role in _OWN:
        group = Group(site.stage, _OWN[site.role])
    else:
        group = Group(site.stage - (site.name in entrances), _kind(site, settings))
        if settings.layout == "convnext" and settings.stage3 == "split" and site.stage == 2:
            group = replace(group, part=str(site.block // 3))
    if settings.sharing != "stage":
        return replace(group, part=site.name)
    if not settings.partition:
        return _of_shape(group, site)
    return group


def _mobilenetv2_group(site: Site, settings: Settings) -> Group:
    if site.role in _OWN:
        return Group(-1, _OWN[site.role])
    if site.role is Role.DEPTHWISE:
        kind = "depthwise"
    elif settings.budget == 1:
        kind = "pointwise"
    else:
        kind = "expand" if site.role is Role.EXPAND else "project"
    return Group(_mobilenetv2_stage(site), kind)


def _kind(site: Site, settings: Settings) -> str:
    if site.is_depthwise:
        return "depthwise"
    if site.groups > 1 and settings.layout == "general":
        return "grouped"
    return "pointwise" if settings.layout in {"convnext", "transformer"} else "conv"


def _entrances(sites: Sequence[Site]) -> set[str]:
    """Names of the sites that are handed over to the stage before."""
    led_in = {site.stage for site in sites if site.role is Role.DOWNSAMPLE}
    first = [s for s in sites if s.block == 0 and s.stage > 0 and s.stage not in led_in]
    names: set[str] = set()
    for stage in {site.stage for site in first}:
        block = [site for site in first if site.stage == stage]
        if any(site.is_depthwise for site in block):
            names.update(site.name for site in block)
        else:
            names.add(block[0].name)
            names.update(site.name for site in block if site.role is Role.SHORTCUT)
    return names


def cell_rule(group: Group, settings: Settings) -> CellRule:
    """Return how a group's cells are sized and counted.

    The ratios of the settings hold where the budget does; layers that a mixed configuration leaves
    at budget 1 keep cells of the full greatest common divisor.
    """
    budget = _budget(group, settings)
    usual = 0.5 if budget < 1 else 1.0
    is_budgeted = budget == settings.budget
    out_ratio = settings.cell_out_ratio if is_budgeted else None
    in_ratio = settings.cell_in_ratio if is_budgeted else None
    if group.kind == "classifier":
        # the released classifier has cells of all its outputs and 32 of 1280 inputs
        return CellRule(budget, out_ratio or 1.0, in_ratio or 0.025)
    return CellRule(budget, out_ratio or usual, in_ratio or usual)


def _budget(group: Group, settings: Settings) -> float:
    if settings.layout == "mobilenetv2" and group.kind in {"stem", "depthwise"}:
        return max(settings.budget, 1.0)
    if settings.layout == "convnext" and settings.budget == 0.75:
        # our reading of the paper's 3/4: half as many cells for the late pointwise layers
        return 0.5 if group.kind == "pointwise" and group.stage >= 2 else 1.0
    return settings.budget
