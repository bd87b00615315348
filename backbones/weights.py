"""Weights in and out: ours, the libraries' and those that the methods' authors released.

`load` finds out by names and shapes what a file is, and takes all of it or nothing. `save` writes
safetensors, which hold no code. No file holds a temperature: what was released is trained, so it
runs at the end of the method's schedule, while ours says in its metadata where it stood.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from safetensors.torch import save_file
from torch import Tensor, nn

from backbones import weights_file
from backbones.build import build, end_schedules
from backbones.errors import WeightsError
from backbones.release import Entry, fill, own_state
from backbones.resolve import Resolved, resolve
from backbones.weights_layout import best_layout


@runtime_checkable
class _Tempered(Protocol):
    temperature: float


@dataclass(frozen=True)
class Fit:
    """What weights turned out to be, and what became of them.

    Attributes:
        source: Whose names they have: a repository, or this project.
        backbone: Canonical text of the network that they fill.
        written_as: Canonical text that the file gives, empty when it gives none.
        part: Key of the checkpoint under which they stood, empty when at the top.
        tensors: Tensors of the file that are used.
        numbers: Numbers in those.
        counters_absent: Running counters of norms that the file lacks; they stay as they are.
        classifier_left: Tensors here that stay as they are because the file has other classes.
        temperature: At which the network runs from here on; None for methods without one.
        temperature_from: ``file``, or ``schedule`` (its end) where the file holds none.
    """

    source: str
    backbone: str
    written_as: str
    part: str
    tensors: int
    numbers: int
    counters_absent: tuple[str, ...]
    classifier_left: tuple[str, ...]
    temperature: float | None
    temperature_from: str

    def __str__(self) -> str:
        """Say it in a line."""
        said = [f"{self.tensors} tensors ({self.numbers:,} numbers) with {self.source}"]
        if self.part:
            said.append(f"from {self.part!r}")
        if self.written_as and self.written_as != self.backbone:
            said.append(f"written as {self.written_as}")
        if self.counters_absent:
            said.append(f"without {len(self.counters_absent)} running counters")
        if self.classifier_left:
            said.append("classifier left as it is, since it has other classes")
        if self.temperature is not None:
            where = "the file's" if self.temperature_from == "file" else "the end of the schedule"
            said.append(f"temperature {self.temperature:g} ({where})")
        return "; ".join(said)


def load(
    network: nn.Module,
    source: str | Path | Mapping[str, object],
    *,
    backbone: str | Resolved,
    own_classes: int | None = None,
) -> Fit:
    """Fill a network with weights: all of it, or nothing.

    Args:
        network: As `build` made it for `backbone`.
        source: File (safetensors or PyTorch's, tensors only), or what such a file
            holds: names with tensors, at the top or under a key.
        backbone: What the network is.
        own_classes: Width of the network's classifier; given, weights with another width are
            taken, too, and the network's classifier stays as it is.

    Returns:
        What they were, and at which temperature the network runs now.

    Raises:
        WeightsError: They cannot be read, or do not fit; lists what is missing, unexpected or of
            another shape. The network is as it was.
    """
    fit, used, tensors = _recognise(network, source, backbone, own_classes)
    own = own_state(network)
    for name, entry in used.items():
        fill(own[entry.target], tensors[name], entry.convert)
    if fit.temperature is not None:
        for module in _tempered(network):
            module.temperature = fit.temperature
    return fit


def recognise(
    network: nn.Module,
    source: str | Path | Mapping[str, object],
    *,
    backbone: str | Resolved,
    own_classes: int | None = None,
) -> Fit:
    """Say what `load` would do, and do nothing. The network may be on the `meta` device."""
    return _recognise(network, source, backbone, own_classes)[0]


def save(
    network: nn.Module, file: Path, *, backbone: str | Resolved, classes: int, image_size: int
) -> None:
    """Write a network's weights as safetensors, each tensor once.

    The text of the backbone, classes, image size and temperature stand in the file's metadata, so
    that `restore` needs nothing else.

    Args:
        network: As `build` made it for `backbone`.
        file: Written aside and renamed.
        backbone: What the network is.
        classes: Width of the classifier.
        image_size: Side in pixels of the images for which it was built.
    """
    temperature = _temperature(network)
    metadata = {
        "format": "pt",
        "backbone": str(resolve(backbone)),
        "classes": str(classes),
        "image_size": str(image_size),
        **({} if temperature is None else {"temperature": repr(temperature)}),
    }
    tensors = {name: t.detach().cpu().contiguous() for name, t in own_state(network).items()}
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        save_file(tensors, aside, metadata=metadata)
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


def restore(file: Path) -> tuple[nn.Module, Fit]:
    """Build the network that `save` wrote, and fill it.

    Raises:
        WeightsError: The file does not say what it is, or does not fit what it says.
        BackboneError: What it says cannot be built.
    """
    given = weights_file.read(file)
    said = given.metadata
    if not {"backbone", "classes", "image_size"} <= said.keys():
        raise WeightsError(
            f"{file} does not say of which backbone it is; build that, then load the file into it"
        )
    try:
        classes, image_size = int(said["classes"]), int(said["image_size"])
    except ValueError as error:
        raise WeightsError(f"{file}: classes and image size are no numbers ({error})") from error
    network = build(said["backbone"], classes=classes, image_size=image_size)
    return network, load(network, file, backbone=said["backbone"])


def _recognise(
    network: nn.Module,
    source: str | Path | Mapping[str, object],
    backbone: str | Resolved,
    own_classes: int | None,
) -> tuple[Fit, dict[str, Entry], Mapping[str, Tensor]]:
    resolved = resolve(backbone)
    if isinstance(source, str | Path):
        name, given = str(source), weights_file.read(Path(source))
    else:
        name = "the given mapping"
        given = weights_file.of_checkpoint(source, name=name)
    tensors = given.tensors
    layout = best_layout(network, resolved, tensors)
    left = layout.other_classifier(tensors, resolved, own_classes) if own_classes else set()
    layout.refuse_unfitting(
        tensors, left, name=f"{name}{_written_as(given.metadata)} into {resolved}"
    )
    used = {n: e for n, e in layout.entries.items() if n in tensors and e.target not in left}
    _refuse_broken({name: tensors[name] for name in used}, name=name)
    held = given.metadata.get("temperature")
    fit = Fit(
        source=layout.source,
        backbone=str(resolved),
        written_as=given.metadata.get("backbone", ""),
        part=given.part,
        tensors=len(used),
        numbers=sum(tensors[name].numel() for name in used),
        counters_absent=tuple(sorted(layout.entries.keys() - tensors.keys())),
        classifier_left=tuple(sorted(left)),
        temperature=_coming_temperature(network, held),
        temperature_from="schedule" if held is None else "file",
    )
    return fit, used, tensors


def _refuse_broken(tensors: Mapping[str, Tensor], *, name: str) -> None:
    """Refuse numbers that are none, as a training that diverged leaves them."""
    broken = [key for key, tensor in tensors.items() if not _is_finite(tensor)]
    if broken:
        raise WeightsError(
            f"{name}: {len(broken)} of {len(tensors)} tensors hold numbers that are not finite, "
            f"{', '.join(broken[:4])} among them; take an earlier checkpoint"
        )


def _is_finite(tensor: Tensor) -> bool:
    known = tensor.is_floating_point() and not tensor.is_meta
    return not known or bool(tensor.isfinite().all())


def _written_as(metadata: Mapping[str, str]) -> str:
    """Say what a file says of itself, which is mostly why it does not fit."""
    if "backbone" not in metadata:
        return ""
    classes = f", {metadata['classes']} classes" if "classes" in metadata else ""
    return f" (written as {metadata['backbone']}{classes})"


def _tempered(network: nn.Module) -> list[_Tempered]:
    return [module for module in network.modules() if isinstance(module, _Tempered)]


def _temperature(network: nn.Module) -> float | None:
    return next((float(module.temperature) for module in _tempered(network)), None)


def _coming_temperature(network: nn.Module, held: str | None) -> float | None:
    """Return what a file says, or what the method's schedule ends with."""
    modules = _tempered(network)
    if not modules:
        return None
    if held is not None:
        return _number(held)
    present = [module.temperature for module in modules]
    end_schedules(network)
    last = _temperature(network)
    for module, temperature in zip(modules, present, strict=True):
        module.temperature = temperature
    return last


def _number(held: str) -> float:
    try:
        temperature = float(held)
    except ValueError:
        temperature = math.nan
    if not (math.isfinite(temperature) and temperature >= 0):
        raise WeightsError(f"the file's temperature {held!r} is no number from 0 on")
    return temperature
