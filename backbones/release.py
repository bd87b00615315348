"""What a method says about weights that others released: the contract of its ``released.py``.

A method's folder may hold ``released.py`` with ``RELEASES``: for each release how the tensors of a
replaced layer are called, in which shape, and how the release names the rest of its networks. The
names of a network that several releases share stand in `network_names`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from backbones import method as registry
from backbones.build import Wraps
from backbones.network_names import Naming, Rename

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """One released tensor of a replaced layer.

    Attributes:
        name: Its name after the released path of the layer.
        target: Name of what it fills, after the path of the layer here.
        ones: Dimensions of size 1 that the release adds at the end of the shape.
        shape: Shape in the release where it is another one altogether; the numbers stand in the
            same order.
        also: A second shape in which the release may have it.
    """

    name: str
    target: str
    ones: int = 0
    shape: Shape | None = None
    also: Shape | None = None


@dataclass(frozen=True)
class Entry:
    """One tensor of a file and what it fills.

    Attributes:
        name: In the file.
        shapes: The shapes that it may have; the first is the usual one.
        target: In the state of the network.
        convert: From the file's layout to the network's; None where the numbers stand in the same
            order.
    """

    name: str
    shapes: tuple[Shape, ...]
    target: str
    convert: Callable[[Tensor], Tensor] | None = None


def _same(name: str, shape: Shape) -> tuple[Shape, ...]:
    del name
    return (shape,)


@dataclass(frozen=True)
class Release:
    """How one release calls the tensors of its networks.

    Attributes:
        source: Whose it is, for people.
        networks: Pattern of network names to what the release calls the network's modules; the
            first that fits counts.
        layers: Type of a replaced layer (or of a router) to its tensors.
        suffixes: Ending of a module's path here to its ending in the release, where it is this
            method's module and not the network's (a router).
        beside: Tensors that belong to no single layer, from the network and the method's settings.
        shapes: Shapes that a tensor of this name may have, from its name in the release and its
            shape here.
    """

    source: str
    networks: Mapping[str, Naming]
    layers: Mapping[type[nn.Module], Callable[[Any], Iterable[Part]]]
    suffixes: Mapping[str, str] = field(default_factory=dict)
    beside: Callable[[nn.Module, Any], Iterable[Entry]] | None = None
    shapes: Callable[[str, Shape], tuple[Shape, ...]] = _same

    def naming(self, network: str) -> Naming | None:
        """Return what the release calls the modules of a network, if it has that network."""
        fitting = (
            naming for pattern, naming in self.networks.items() if fnmatchcase(network, pattern)
        )
        return next(fitting, None)


def own_state(network: nn.Module) -> dict[str, Tensor]:
    """Return the state of a network with each tensor once, under the first of its names."""
    state: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in network.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            state[name] = tensor
    return state


def entries(network: nn.Module, release: Release, *, naming: Naming, settings: Any) -> list[Entry]:
    """List the tensors that a release of this network holds.

    Args:
        network: Built with the method; may be on the `meta` device.
        release: Whose names.
        naming: What it calls the modules of this network.
        settings: Of the method.
    """
    own = own_state(network)
    path_of = _paths(network, release, naming(network))
    layers = {p: m for p, m in network.named_modules() if type(m) in release.layers}
    found = list(_static(own, layers, path_of, release))
    for path, module in layers.items():
        for part in release.layers[type(module)](module):
            name = _join(path_of(path), part.name)
            target = _join(path, part.target)
            shape = part.shape or tuple(own[target].shape) + (1,) * part.ones
            shapes = release.shapes(name, shape) + ((part.also,) if part.also else ())
            found.append(Entry(name, shapes, target))
    if release.beside is not None:
        found.extend(release.beside(network, settings))
    return found


def _static(
    own: Mapping[str, Tensor], layers: Iterable[str], path_of: Rename, release: Release
) -> Iterator[Entry]:
    """Everything that no replaced layer holds keeps the names of its own."""
    replaced = tuple(f"{path}." for path in layers)
    for target, tensor in own.items():
        if target.startswith(replaced):
            continue
        path, _, last = target.rpartition(".")
        name = _join(path_of(path), last)
        yield Entry(name, release.shapes(name, tuple(tensor.shape)), target)


def _paths(network: nn.Module, release: Release, rename: Rename) -> Rename:
    """Map paths of this network, wrapped blocks included, to the release's."""
    around = [path for path, module in network.named_modules() if isinstance(module, Wraps)]

    def path_of(path: str) -> str:
        for wrapper in around:
            if path.startswith(f"{wrapper}.block"):
                path = wrapper + path.removeprefix(f"{wrapper}.block")
        for ours, theirs in release.suffixes.items():
            if path.endswith(ours):
                return rename(path.removesuffix(ours)) + theirs
        return rename(path)

    return path_of


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def batch_norm(theirs: str, ours: str) -> tuple[Part, ...]:
    """Return the tensors of a batch normalisation within a layer."""
    names = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return tuple(Part(f"{theirs}.{name}", f"{ours}.{name}") for name in names)


def fill(target: Tensor, value: Tensor, convert: Callable[[Tensor], Tensor] | None) -> None:
    """Copy a released tensor into the network's."""
    with torch.no_grad():
        target.copy_((convert(value) if convert else value).reshape(target.shape))


def releases(method: str) -> Sequence[Release]:
    """Return what a method knows of released weights, nothing where it knows of none."""
    module = f"{registry.modules()[method]}.released"
    if importlib.util.find_spec(module) is None:
        return ()
    found: Sequence[Release] = importlib.import_module(module).RELEASES
    return found
