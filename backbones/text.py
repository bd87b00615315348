"""The canonical text of a backbone: ``resnet18(stem=small)/spconv(alpha=0.5)+eca``.

Grammar: ``network['(' settings ')'] '/' method ['(' settings ')'] {'+' method [...]}``, settings
being
``name=value`` pairs between commas. A value is an integer, a decimal number, ``true``, ``false``
or a bare word.
`parse` reads it, `Backbone.__str__` prints it; what a name or a setting *means* is decided in
`resolve`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from backbones.errors import BackboneTextError

Scalar = bool | int | float | str

_CALL = re.compile(r"\s*(?P<name>[A-Za-z][A-Za-z0-9_.\-]*)\s*(?:\((?P<settings>[^()]*)\))?\s*")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_WORD = re.compile(r"[A-Za-z0-9_.\-]+")
_NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)(e-?\d+)?", re.IGNORECASE)
_EXAMPLE = "an example that reads: resnet18(stem=small)/kernel_warehouse(budget=4)+eca"


@dataclass(frozen=True, slots=True)
class Call:
    """A name with its settings, as written.

    Attributes:
        name: Network or method.
        settings: Name to value, in the order written.
    """

    name: str
    settings: Mapping[str, Scalar] = field(default_factory=lambda: MappingProxyType({}))

    def __str__(self) -> str:
        """Print as written, a setting after the other."""
        if not self.settings:
            return self.name
        inside = ",".join(f"{key}={_print_scalar(value)}" for key, value in self.settings.items())
        return f"{self.name}({inside})"


@dataclass(frozen=True, slots=True)
class Backbone:
    """A network and the methods applied to it, in that order.

    Attributes:
        network: The base architecture with its options.
        methods: At least one method; `conv` alone means the plain network.
    """

    network: Call
    methods: tuple[Call, ...]

    def __str__(self) -> str:
        """Print so that `parse` reads the same again."""
        return f"{self.network}/{'+'.join(str(method) for method in self.methods)}"


def parse(text: str) -> Backbone:
    """Read the text of a backbone. Names and settings are not looked up here.

    Args:
        text: Such as ``resnet18/kernel_warehouse(budget=4)``; a bare network means
            ``network/conv``.

    Raises:
        BackboneTextError: The text does not follow the grammar.
    """
    network, slash, rest = text.partition("/")
    methods = tuple(_call(part, text) for part in rest.split("+")) if slash else (Call("conv"),)
    return Backbone(network=_call(network, text), methods=methods)


def _call(part: str, whole: str) -> Call:
    match = _CALL.fullmatch(part)
    if match is None:
        raise BackboneTextError(
            f"cannot read {part.strip()!r} in backbone {whole!r}: expected name or "
            f"name(setting=value,...); {_EXAMPLE}"
        )
    settings: dict[str, Scalar] = {}
    inside = match["settings"]
    for pair in (inside or "").split(",") if inside and inside.strip() else ():
        key, equals, value = (piece.strip() for piece in pair.partition("="))
        if not equals or not _NAME.fullmatch(key) or not _WORD.fullmatch(value):
            raise BackboneTextError(
                f"cannot read setting {pair.strip()!r} in backbone {whole!r}: expected name=value; "
                f"{_EXAMPLE}"
            )
        if key in settings:
            raise BackboneTextError(f"setting {key!r} stands twice in backbone {whole!r}")
        settings[key] = _read_scalar(value)
    return Call(name=match["name"], settings=MappingProxyType(settings))


def _read_scalar(word: str) -> Scalar:
    if word in {"true", "false"}:
        return word == "true"
    if not _NUMBER.fullmatch(word):  # Python would also read 1_000, nan and infinity as numbers
        return word
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def _print_scalar(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
