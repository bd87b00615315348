"""The plain network: nothing is replaced. Every other method is measured against it."""

from __future__ import annotations

from backbones.method import Method
from backbones.sites import Slot

METHOD = Method(title="Plain convolution", family="plain", slot=Slot.CONV)
