"""Errors of this package.

BackboneError
├── BackboneTextError        the text of a backbone cannot be read
├── UnknownNetworkError      no such network
├── UnknownMethodError       no such method
├── SettingError             an unknown or out-of-range setting
├── UnsupportedNetworkError  the method finds nothing to replace in this network
└── WeightsError             a checkpoint does not fit
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class BackboneError(Exception):
    """Something about a backbone is wrong; the message says what and what would do."""


class BackboneTextError(BackboneError):
    """The text of a backbone cannot be read."""


class UnknownNetworkError(BackboneError):
    """No library here has a network of that name."""


class UnknownMethodError(BackboneError):
    """No method of that name is installed."""


class SettingError(BackboneError):
    """A setting is unknown or out of range."""


class UnsupportedNetworkError(BackboneError):
    """The method finds nothing to replace in this network."""


class WeightsError(BackboneError):
    """A checkpoint does not fit the backbone.

    Args:
        message: What was wrong; names the first few tensors.
        missing: Names of all tensors that the backbone has and the checkpoint has not.
        unexpected: Names of all that the checkpoint has and the backbone has not.
        misshapen: All of another shape: name, the shape found and the one wanted.
    """

    def __init__(
        self,
        message: str,
        *,
        missing: Sequence[str] = (),
        unexpected: Sequence[str] = (),
        misshapen: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.missing = tuple(missing)
        self.unexpected = tuple(unexpected)
        self.misshapen = tuple(misshapen)


def near(name: str, known: Iterable[str], *, count: int = 4, listed: int = 12) -> str:
    """Say which known names are like `name`, or list all when they are few.

    Args:
        name: What was typed.
        known: Every name that would do.
        count: How many near names at most.
        listed: Up to so many names are all listed when none is near.

    Returns:
        A phrase such as ``did you mean odconv, dyconv?`` or ``known: conv, se``.
    """
    names = sorted(known)
    # papers write ODConv and ResNet18
    by_lower = {one.lower(): one for one in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.6)
    if close:
        return f"did you mean {', '.join(by_lower[one] for one in close)}?"
    if len(names) <= listed:
        return f"known: {', '.join(names)}"
    return f"{len(names)} are known"
