"""Errors of this package.

DetectionError
├── ConfigError           settings of a detector that do not fit together
└── MissingOperatorError  an operator that needs mmcv's compiled extension
"""

from __future__ import annotations


class DetectionError(Exception):
    """Something about a detector is wrong; the message says what and what would do."""


class ConfigError(DetectionError):
    """Settings of a detector do not fit together, or do not exist."""


class MissingOperatorError(DetectionError):
    """An operator was called that only mmcv's compiled extension has.

    Attributes:
        operator: Its name in ``mmcv._ext``.
    """

    def __init__(self, operator: str, *, detail: str = "") -> None:
        super().__init__(
            f"mmcv's operator {operator!r} is not there{f' {detail}' if detail else ''}: mmcv-lite "
            "is installed, and torchvision, which stands in for its extension, has none like it; "
            "compile mmcv 2.1 for this torch, or choose a detector that does without "
            "(Mask R-CNN and Faster R-CNN do)"
        )
        self.operator = operator
