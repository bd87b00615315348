"""The backbone of a spec, for every kind that has one."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from backbones.errors import BackboneError
from backbones.resolve import resolve


def _canonical(text: str) -> str:
    try:
        return str(resolve(text))
    except BackboneError as error:
        raise ValueError(str(error)) from error


BackboneText = Annotated[
    str,
    AfterValidator(_canonical),
    Field(description="Such as resnet18/kernel_warehouse(budget=4); stored in canonical form."),
]
"""A field of a spec that takes the text of a backbone and keeps its canonical form."""


def backbone_of(spec: Any) -> str:
    """Return the backbone of a spec that has one, for listings and checks."""
    text: str = spec.backbone
    return text
