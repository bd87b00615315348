"""A method that lives outside Convoy: one learned factor for each channel at the end of a block."""

from __future__ import annotations

from pydantic import Field

from backbones.method import Method, MethodSettings
from backbones.sites import Slot


class Settings(MethodSettings):
    """Settings of the example."""

    initial: float = Field(default=1.0, gt=0, description="What every factor begins with.")


METHOD = Method(title="Channel scale", family="attention", slot=Slot.GATE, settings=Settings)
