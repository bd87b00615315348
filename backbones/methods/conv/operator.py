"""Heavy half of `conv`: there is none, every convolution stays as the network has it."""

from __future__ import annotations

from collections.abc import Sequence

from backbones.method import MethodSettings, Replacements
from backbones.sites import Site


def plan(sites: Sequence[Site], settings: MethodSettings) -> Replacements:
    """Replace nothing.

    Args:
        sites: Every convolution and linear layer of the network.
        settings: Without fields.
    """
    del sites, settings
    return {}
