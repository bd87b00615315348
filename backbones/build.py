"""Build a backbone: the only code that swaps modules."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast, runtime_checkable

import torch
from torch import nn

from backbones import method as registry
from backbones import network as networks
from backbones.errors import BackboneTextError, UnsupportedNetworkError
from backbones.resolve import PLAIN, Resolved, resolve
from backbones.selection import select
from backbones.sites import Site, Slot, sites

logger = logging.getLogger(__name__)

_PLACING_ORDER = (Slot.BLOCK, Slot.CONV_NORM_ACT, Slot.CONV, Slot.GATE)
"""Gates come last, so that they follow whatever stands in the place of the norm by then."""

_LONG_TRAINED = 2**40
"""Steps after which every schedule has ended."""


@runtime_checkable
class Anneals(Protocol):
    """A module whose behaviour follows a schedule of its own (a temperature, say)."""

    def anneal(self, *, step: int, steps_per_epoch: int) -> None:
        """Set the schedule for the coming forward pass.

        Args:
            step: Forward passes in training before this one, counted over all epochs from 0.
            steps_per_epoch: Forward passes in an epoch.
        """


@runtime_checkable
class Wraps(Protocol):
    """A replacement that goes around what stands at its path, a whole residual block, say.

    What it computes from the block's input (a router) it hands to the replacements inside by an
    object that they share. It is put in place after everything else, so that all other paths are
    those of the plain network.
    """

    def wrap(self, module: nn.Module) -> None:
        """Take the module that stands there; called once."""


@dataclass(frozen=True)
class Placed:
    """What one method did to a network.

    Attributes:
        method: Its name.
        slot: What it filled.
        sites: The sites it took.
    """

    method: str
    slot: Slot
    sites: tuple[Site, ...]


def build(
    text: str | Resolved,
    *,
    classes: int = 1000,
    image_size: int = 224,
    seed: int = 0,
    device: str | torch.device = "cpu",
    pretrained: bool = False,
    dropout: float = 0.0,
    drop_path: float = 0.0,
) -> nn.Module:
    """Build a backbone with initial weights.

    Args:
        text: Such as ``resnet18(stem=small)/kernel_warehouse(budget=4)+eca``.
        classes: Width of the classifier.
        image_size: Side of the input in pixels; what is bound to a resolution is built for it.
        seed: Of the initial weights; torch's own generators are left as they were.
        device: Where; ``meta`` for shapes without values.
        pretrained: Start from the library's weights of the plain network, where the method leaves
            them in place.
        dropout: Probability before the classifier.
        drop_path: Stochastic depth.

    Returns:
        (N, 3, H, W) float -> (N, classes).

    Raises:
        BackboneError: The text is wrong, or a method finds nothing to replace
            (UnsupportedNetworkError).
    """
    resolved = resolve(text)
    found = sites(resolved, image_size=image_size, classes=classes)
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        network = networks.create(
            resolved.network,
            options=resolved.options,
            classes=classes,
            image_size=image_size,
            device=str(device),
            pretrained=pretrained,
            dropout=dropout,
            drop_path=drop_path,
        )
        with device:
            place(network, resolved, found)
    # timm makes some buffers on the host whatever the default device
    return network if device.type == "meta" else network.to(device)


def place(network: nn.Module, resolved: Resolved, found: Sequence[Site]) -> list[Placed]:
    """Put the methods of a backbone into a plain network, all or none.

    Args:
        network: The plain network; changed in place.
        resolved: Whose methods.
        found: The sites of the network.

    Raises:
        UnsupportedNetworkError: A method takes no site, or two methods want one.
    """
    chosen = {
        name: select(name, settings, found, network=resolved.network)
        for name, settings in resolved.methods
    }
    _refuse_overlap(chosen, str(resolved))
    plans = {
        name: registry.load_plan(name)(chosen[name], settings)
        for name, settings in resolved.methods
    }
    _fill(network, plans, found)
    placed = [Placed(name, registry.get(name).slot, tuple(group)) for name, group in chosen.items()]
    counted_only = next(network.parameters()).is_meta  # no news: costs are counted often
    for record in placed:
        logger.log(
            logging.DEBUG if counted_only else logging.INFO,
            "method placed",
            extra={"method": record.method, "taken": len(record.sites), "of": len(found)},
        )
    return placed


def _fill(
    network: nn.Module, plans: Mapping[str, registry.Replacements], found: Sequence[Site]
) -> None:
    by_name = {(site.name, slot): site for site in found for slot in site.slots}
    ordered = [
        (slot, path, module)
        for slot in _PLACING_ORDER
        for name, replacements in plans.items()
        if registry.get(name).slot is slot
        for path, module in replacements.items()
    ]
    around = [(path, module) for _, path, module in ordered if isinstance(module, Wraps)]
    inside = [one for one in ordered if not isinstance(one[2], Wraps)]
    new_blocks = {path for slot, path, _ in inside if slot is Slot.BLOCK}
    for slot, path, module in inside:
        site = by_name[path, slot]
        if slot is Slot.GATE and site.block_name in new_blocks:
            site = replace(site, name=f"{site.block_name}.gate")
        _put(network, site, slot, module)
    for path, wrapper in around:
        wrapper.wrap(network.get_submodule(path))
        network.set_submodule(path, cast("nn.Module", wrapper))


def anneal(network: nn.Module, *, step: int, steps_per_epoch: int) -> None:
    """Set the schedules of all methods for the coming training step (see `Anneals`)."""
    for module in network.modules():
        if isinstance(module, Anneals):
            module.anneal(step=step, steps_per_epoch=steps_per_epoch)


def end_schedules(network: nn.Module) -> None:
    """Set the schedules of all methods to where they end, as a trained network runs."""
    anneal(network, step=_LONG_TRAINED, steps_per_epoch=1)


def _refuse_overlap(chosen: Mapping[str, Sequence[Site]], text: str) -> None:
    taken: dict[str, str] = {}
    for name, group in chosen.items():
        slot = registry.get(name).slot
        if name == PLAIN or slot is Slot.GATE:
            continue
        for site in group:
            if site.name in taken:
                raise UnsupportedNetworkError(
                    f"{text}: {taken[site.name]} and {name} both replace {site.name}; "
                    "only gates can stand beside another method"
                )
            taken[site.name] = name
    for site_name, name in taken.items():
        around = next((other for other in taken if site_name.startswith(f"{other}.")), None)
        if around is not None:
            raise BackboneTextError(
                f"{text}: {taken[around]} replaces the block {around}, in which {name} "
                f"replaces {site_name}; leave out one of the two"
            )


def _put(network: nn.Module, site: Site, slot: Slot, module: nn.Module) -> None:
    if slot is Slot.GATE:
        parent_path, _, attribute = site.name.rpartition(".")
        parent = network.get_submodule(parent_path)
        present = getattr(parent, attribute)
        if present is None:
            setattr(parent, attribute, module)
        else:
            network.set_submodule(site.name, nn.Sequential(present, module))
        return
    if slot is Slot.BLOCK:
        drop_path = getattr(network.get_submodule(site.name), "drop_path", None)
        if isinstance(drop_path, nn.Module):
            module.set_submodule("drop_path", drop_path)
    network.set_submodule(site.name, module)
    if slot is Slot.CONV_NORM_ACT:
        for follower in (site.norm, site.act):
            if follower:
                network.set_submodule(follower, nn.Identity())
