"""From the text of a backbone to what it means. No torch.

Names are looked up, settings checked, presets filled in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar, get_args

from pydantic import BaseModel, ValidationError

from backbones import method as registry
from backbones import network as networks
from backbones.errors import BackboneTextError, SettingError, near
from backbones.method import MethodSettings
from backbones.text import Backbone, Call, Scalar, parse

PLAIN = "conv"
"""The method that replaces nothing."""

_NONE = "none"

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True)
class Resolved:
    """A backbone whose every setting is known.

    Attributes:
        network: Name of the base network.
        options: Its options, all of them.
        methods: Name and settings of each method, in the order of application.
    """

    network: str
    options: networks.Options
    methods: tuple[tuple[str, MethodSettings], ...]

    def __str__(self) -> str:
        """Return the canonical text: only what differs from defaults and presets."""
        network = Call(self.network, _differing(self.options, {}))
        methods = tuple(
            Call(name, _differing(settings, preset(name, self.network)))
            for name, settings in self.methods
        )
        return str(Backbone(network, methods))

    @property
    def digest(self) -> str:
        """Hash (16 hex digits) over all resolved settings, defaults included."""
        whole = {
            "network": self.network,
            "options": self.options.model_dump(mode="json"),
            "methods": [
                [name, settings.model_dump(mode="json")] for name, settings in self.methods
            ],
        }
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def plain(self) -> Resolved:
        """The same network with nothing replaced."""
        return Resolved(self.network, self.options, ((PLAIN, registry.get(PLAIN).settings()),))

    @property
    def method_text(self) -> str:
        """The part of the canonical text after the slash."""
        return str(self).partition("/")[2]


def resolve(text: str | Resolved) -> Resolved:
    """Look up and check everything in the text of a backbone.

    Args:
        text: Such as ``resnet18/kernel_warehouse(budget=4)``.

    Raises:
        BackboneTextError: The text cannot be read, or a method stands in it twice.
        UnknownNetworkError: With near names.
        UnknownMethodError: With near names.
        SettingError: A setting is unknown or out of range; says what would do.
    """
    if isinstance(text, Resolved):
        return text
    backbone = parse(text)
    networks.require(backbone.network.name)
    options = _read(networks.Options, backbone.network, {}, "network")
    methods = tuple(
        (
            call.name,
            _read(
                registry.get(call.name).settings,
                call,
                preset(call.name, backbone.network.name),
                "method",
            ),
        )
        for call in backbone.methods
    )
    names = [name for name, _ in methods]
    if len(set(names)) < len(names):
        raise BackboneTextError(f"a method stands twice in backbone {text!r}; name each once")
    if len(names) > 1 and PLAIN in names:
        methods = tuple(pair for pair in methods if pair[0] != PLAIN)
    return Resolved(backbone.network.name, options, methods)


def preset(method: str, network: str) -> Mapping[str, object]:
    """Return what the method's paper sets on this network other than the defaults."""
    return registry.get(method).presets.get(network, {})


def _read(model: type[_Model], call: Call, preset: Mapping[str, object], what: str) -> _Model:
    for key in call.settings:
        if key not in model.model_fields:
            hint = near(key, model.model_fields) if model.model_fields else "it has none"
            raise SettingError(f"{what} {call.name!r} has no setting {key!r}; {hint}")
    try:
        return model.model_validate({**preset, **_given(model, call.settings)})
    except ValidationError as error:
        raise SettingError(
            "; ".join(_fault(dict(fault), model, call.name) for fault in error.errors())
        ) from error


def _given(model: type[BaseModel], settings: Mapping[str, Scalar]) -> dict[str, Scalar | None]:
    """Read the word `none` as no value where a setting may have none."""
    return {
        key: None if value == _NONE and _may_lack(model, key) else value
        for key, value in settings.items()
    }


def _may_lack(model: type[BaseModel], key: str) -> bool:
    return type(None) in get_args(model.model_fields[key].annotation)


def _fault(fault: Mapping[str, object], model: type[BaseModel], name: str) -> str:
    place = fault["loc"]
    message = str(fault["msg"]).removeprefix("Value error, ")
    if not isinstance(place, tuple) or not place:
        return f"{name}: {message}"
    field = model.model_fields.get(str(place[0]))
    about = f" ({field.description})" if field is not None and field.description else ""
    return f"{name}({place[0]}={fault['input']}): {message}{about}"


def _differing(settings: BaseModel, preset: Mapping[str, object]) -> dict[str, Scalar]:
    base = type(settings).model_validate(dict(preset))
    found = {key: getattr(settings, key) for key in type(settings).model_fields}
    return {
        key: _NONE if value is None else value
        for key, value in found.items()
        if value != getattr(base, key)
    }
