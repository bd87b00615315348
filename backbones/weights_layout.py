"""In which ways a file may name the tensors of a network, and which of them a file follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from backbones.errors import WeightsError
from backbones.network import usual_image_size
from backbones.release import Entry, entries, own_state, releases
from backbones.resolve import Resolved
from backbones.sites import Role, sites

OWN = "the names of this project"
"""Source of weights that are named as our networks are, and so as timm's and torchvision's."""

_COUNTER = "num_batches_tracked"
"""Ending of tensors that no result depends on; a file may lack them."""
_SHOWN = 6


@dataclass(frozen=True)
class Layout:
    """One way in which a file may name the tensors of a network.

    Attributes:
        source: Whose it is.
        entries: The tensors by their name in the file.
        aliases: Second names under which a file may repeat a shared tensor, to the first.
    """

    source: str
    entries: Mapping[str, Entry]
    aliases: Mapping[str, str] = field(default_factory=dict)

    def shared(self, given: Mapping[str, Tensor]) -> int:
        """Count the names that a file has in common."""
        return len(self.entries.keys() & given.keys())

    def refuse_unfitting(
        self, given: Mapping[str, Tensor], left: AbstractSet[str], *, name: str
    ) -> None:
        """Refuse a file with missing, unexpected or differently shaped tensors.

        Args:
            given: What the file holds.
            left: Tensors of the network that are left as they are.
            name: Of file and backbone, for the message.

        Raises:
            WeightsError: With all of them.
        """
        faults = {
            "missing": self._missing(given),
            "unexpected": [n for n in given if n not in self.entries and n not in self.aliases],
            "misshapen": self._misshapen(given, left),
        }
        said = [
            f"{len(names)} {what} ({', '.join(names[:_SHOWN])}{', ...' * (len(names) > _SHOWN)})"
            for what, names in faults.items()
            if names
        ]
        if said:
            raise WeightsError(
                f"cannot load {name}: {self.shared(given)} of its {len(given)} tensors have "
                f"{self.source}; {'; '.join(said)}; take a file of exactly this backbone",
                **faults,
            )

    def _missing(self, given: Mapping[str, Tensor]) -> list[str]:
        absent = (name for name in self.entries if name not in given)
        return [name for name in absent if name.rpartition(".")[2] != _COUNTER]

    def _misshapen(self, given: Mapping[str, Tensor], left: AbstractSet[str]) -> list[str]:
        wrong = [
            f"{name} {_kind(tensor, entry)} for {_wanted(entry)}"
            for name, tensor in given.items()
            if (entry := self.entries.get(name))
            and entry.target not in left
            and not _fits(tensor, entry)
        ]
        unequal = [
            f"{name} differs from {first}"
            for name, first in self.aliases.items()
            if name in given and first in given and not _is_same(given[name], given[first])
        ]
        return wrong + unequal

    def other_classifier(
        self, given: Mapping[str, Tensor], resolved: Resolved, classes: int
    ) -> set[str]:
        """Name the tensors of the network's classifier if the file's is as wide as other classes.

        Args:
            given: What the file holds.
            resolved: The backbone.
            classes: Width of the network's classifier.

        Returns:
            All its tensors, or none.
        """
        size = usual_image_size(resolved.network, resolved.options)
        found = sites(resolved, image_size=size, classes=classes)
        paths = tuple(f"{site.name}." for site in found if site.role is Role.CLASSIFIER)
        inside = {n: e for n, e in self.entries.items() if paths and e.target.startswith(paths)}
        unfit = [n for n, e in inside.items() if n in given and not _fits(given[n], e)]
        if unfit and all(_has_other_classes(given[n], inside[n], classes) for n in unfit):
            return {entry.target for entry in inside.values()}
        return set()


def best_layout(network: nn.Module, resolved: Resolved, given: Mapping[str, Tensor]) -> Layout:
    """Return the layout that a file follows: the one with most names in common."""
    return max(_layouts(network, resolved), key=lambda layout: layout.shared(given))


def _layouts(network: nn.Module, resolved: Resolved) -> Iterator[Layout]:
    own = own_state(network)
    first = {id(tensor): name for name, tensor in own.items()}
    yield Layout(
        OWN,
        {name: Entry(name, (tuple(tensor.shape),), name) for name, tensor in own.items()},
        {
            name: first[id(tensor)]
            for name, tensor in network.state_dict(keep_vars=True).items()
            if name not in own
        },
    )
    for method, settings in resolved.methods:
        for release in releases(method):
            naming = release.naming(resolved.network)
            if naming is not None:
                found = entries(network, release, naming=naming, settings=settings)
                yield Layout(
                    f"the names of {release.source}", {entry.name: entry for entry in found}
                )


def _fits(tensor: Tensor, entry: Entry) -> bool:
    return tuple(tensor.shape) in entry.shapes and _is_of_its_kind(tensor, entry)


def _is_of_its_kind(tensor: Tensor, entry: Entry) -> bool:
    is_counter = entry.target.rpartition(".")[2] == _COUNTER
    return tensor.is_floating_point() is not is_counter


def _kind(tensor: Tensor, entry: Entry) -> str:
    kind = "" if _is_of_its_kind(tensor, entry) else f" {tensor.dtype}".replace("torch.", "")
    return f"{list(tensor.shape)}{kind}"


def _wanted(entry: Entry) -> str:
    return " or ".join(str(list(shape)) for shape in entry.shapes)


def _is_same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    return one.data_ptr() == other.data_ptr() != 0 or one.is_meta or torch.equal(one, other)


def _has_other_classes(tensor: Tensor, entry: Entry, classes: int) -> bool:
    """Whether a shape differs only where the network has its classes."""
    found: Sequence[int] = tuple(tensor.shape)
    return any(
        len(shape) == len(found)
        and all(here in (there, classes) for here, there in zip(shape, found, strict=True))
        for shape in entry.shapes
    )
