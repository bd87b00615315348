"""Base networks: which exist, their options, and how one is made.

Names come from timm, then torchvision (for what timm lacks), then the files of `networks` (for
what both lack). Listing
them reads the libraries' source files, so that it needs no torch: 1,400 names in about 20 ms.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from backbones import networks
from backbones.errors import UnknownNetworkError, UnsupportedNetworkError, near

if TYPE_CHECKING:
    from torch import nn

_REGISTERED = {
    "timm": re.compile(r"^@register_model(?:\([^)]*\))?\ndef (\w+)\(", re.MULTILINE),
    # torchvision puts a second decorator, often over several lines, between the two
    "torchvision": re.compile(
        r"^@register_model(?:\([^)]*\))?\n(?:@[^\n]*(?:\n(?:    [^\n]*|\)))*\n)*def (\w+)\(",
        re.MULTILINE,
    ),
}
_OWN = re.compile(
    r"^def ([a-z]\w*)\(\*, classes: int(?:, image_size: int)?\) -> nn\.Module:", re.MULTILINE
)
_IMAGE_SIZE = re.compile(r"^IMAGE_SIZE = (\d+)", re.MULTILINE)


class Options(BaseModel):
    """What may be varied of a base network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stem: Literal["standard", "small"] = Field(
        "standard",
        description="`small` suits inputs of 32 to 64 pixels: the first convolution has stride 1 "
        "(and a 3x3 kernel when it was larger), and the pooling behind it goes.",
    )


@cache
def origins() -> Mapping[str, str]:
    """Return every network's name and where it comes from: `timm`, `torchvision` or `convoy`."""
    found = dict.fromkeys(_own(), "convoy")
    for library in ("timm", "torchvision"):
        spec = find_spec(library)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            for file in sorted((Path(place) / "models").glob("*.py")):
                for name in _REGISTERED[library].findall(file.read_text("utf-8")):
                    found.setdefault(name, library)
    return dict(sorted(found.items()))


@cache
def _own() -> Mapping[str, tuple[str, str]]:
    """Name our networks, each with its file and its function (`create` has the file's name)."""
    found = {}
    for place in networks.__path__:
        for file in sorted(Path(place).glob("*.py")):
            for function in _OWN.findall(file.read_text("utf-8")):
                name = file.stem if function == "create" else function
                found[name] = (file.stem, function)
    return found


def names() -> list[str]:
    """Return the names of all networks, sorted."""
    return list(origins())


def require(name: str) -> None:
    """Refuse a name that no library here has.

    Raises:
        UnknownNetworkError: With near names.
    """
    if name not in origins():
        raise UnknownNetworkError(f"unknown network {name!r}; {near(name, origins())}")


def usual_image_size(name: str, options: Options) -> int:
    """Return the side in pixels of the images that a network is meant for, when nobody says.

    That is 224, but 32 with a small stem and for networks of CIFAR, whose names end in ``_cifar``,
    and what the file of a network of ours says (``IMAGE_SIZE = 32``).
    """
    if options.stem == "small" or name.endswith("_cifar"):
        return 32
    return _own_image_sizes().get(name, 224)


@cache
def _own_image_sizes() -> Mapping[str, int]:
    """Return the sizes that files of ours say, in pixels, by the names of their networks."""
    found = {}
    for name, (file, _) in _own().items():
        source = Path(networks.__path__[0], f"{file}.py").read_text("utf-8")
        if said := _IMAGE_SIZE.search(source):
            found[name] = int(said[1])
    return found


def create(
    name: str,
    *,
    options: Options,
    classes: int,
    image_size: int = 224,
    device: str = "cpu",
    pretrained: bool = False,
    dropout: float = 0.0,
    drop_path: float = 0.0,
) -> nn.Module:
    """Make a base network with its own initial weights.

    Args:
        name: One of `names()`.
        options: Variations.
        classes: Width of the classifier.
        image_size: Side of the input in pixels, for networks that are built for one size.
        device: Where; ``meta`` for shapes without values.
        pretrained: Take the library's weights (downloads them).
        dropout: Probability before the classifier; left to the network's own default for
            torchvision.
        drop_path: Stochastic depth, for timm's networks that know it.

    Raises:
        UnknownNetworkError: No such network.
        UnsupportedNetworkError: An option does not fit this network, or no weights are known for
            it.
    """
    import torch

    require(name)
    if pretrained:
        _require_weights(name)
    rates = {"drop_rate": dropout, "drop_path_rate": drop_path}
    makers: Mapping[str, Callable[[], nn.Module]] = {
        "timm": lambda: _from_timm(name, classes, image_size, pretrained, rates),
        "torchvision": lambda: _from_torchvision(name, classes, pretrained),
        "convoy": lambda: _from_here(name, classes, image_size),
    }
    make = makers[origins()[name]]
    try:
        with torch.device(device):
            network = make()
    except NotImplementedError:
        # some constructors read values back, which the meta device has not
        if device != "meta":
            raise
        network = make().to(device)
    if options.stem == "small":
        with torch.device(device):
            _shrink_stem(network, name)
    return network


def _require_weights(name: str) -> None:
    """Refuse a network without weights, which timm would leave at random ones."""
    origin = origins()[name]
    if origin == "torchvision":
        import torchvision

        known = len(torchvision.models.get_model_weights(name)) > 0
    elif origin == "timm":
        import timm

        config = timm.get_pretrained_cfg(name, allow_unregistered=True)
        known = config is not None and config.has_weights
        if config is not None and known:
            _require_usual_pixels(name, mean=config.mean, std=config.std)
    else:
        known = False
    if not known:
        raise UnsupportedNetworkError(
            f"no pretrained weights are known for {name}; start from scratch or from a file of "
            "weights, or choose a network that has some"
        )


def _require_usual_pixels(name: str, *, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Refuse weights that were trained on images normalised otherwise than they are here."""
    from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

    if (mean, std) != (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD):
        raise UnsupportedNetworkError(
            f"the library's weights of {name} expect pixels with mean {mean} and deviation {std}, "
            f"and here they have ImageNet's ({IMAGENET_DEFAULT_MEAN}, {IMAGENET_DEFAULT_STD}); "
            "start from scratch, from a run or from a file of weights, or choose another network"
        )


def _from_here(name: str, classes: int, image_size: int) -> nn.Module:
    file, function = _own()[name]
    make = getattr(importlib.import_module(f"{networks.__name__}.{file}"), function)
    is_sized = "image_size" in inspect.signature(make).parameters
    network: nn.Module = make(classes=classes, **({"image_size": image_size} if is_sized else {}))
    return network


def _from_timm(
    name: str, classes: int, image_size: int, pretrained: bool, rates: Mapping[str, float]
) -> nn.Module:
    import timm

    given: dict[str, Any] = {key: value for key, value in rates.items() if value}
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    if config is not None and config.fixed_input_size and config.input_size[-1] != image_size:
        given["img_size"] = image_size
    network: nn.Module = timm.create_model(
        name, pretrained=pretrained, num_classes=classes, **given
    )
    return network


def _from_torchvision(name: str, classes: int, pretrained: bool) -> nn.Module:
    import torchvision

    network: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes)
    if pretrained:
        present = network.state_dict()
        weights = torchvision.models.get_model(name, weights="DEFAULT").state_dict()
        # a classifier of another width keeps its own initial weights
        fitting = {k: v for k, v in weights.items() if v.shape == present[k].shape}
        network.load_state_dict({**present, **fitting})
    return network


def _shrink_stem(network: nn.Module, name: str) -> None:
    """Give the first convolution stride 1 and drop the pooling that follows it."""
    from torch import nn

    path, first = next(
        ((p, m) for p, m in network.named_modules() if isinstance(m, nn.Conv2d)), ("", None)
    )
    if first is None or first.kernel_size == first.stride:
        raise UnsupportedNetworkError(
            f"{name} cuts its input into patches, so it has no small stem; "
            "leave stem=standard and choose an image size that its patches divide"
        )
    kernel = min(first.kernel_size[0], 3)
    network.set_submodule(
        path,
        nn.Conv2d(
            first.in_channels,
            first.out_channels,
            kernel,
            stride=1,
            padding=kernel // 2,
            bias=first.bias is not None,
        ),
    )
    for attribute in ("maxpool", "pool"):
        if isinstance(getattr(network, attribute, None), nn.MaxPool2d):
            setattr(network, attribute, nn.Identity())
