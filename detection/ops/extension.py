"""What stands in for ``mmcv._ext``: the operators there are, and an error for each other one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import torchvision

from detection.errors import MissingOperatorError
from detection.ops.deformable import (
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
)
from detection.ops.focal import sigmoid_focal_loss_backward, sigmoid_focal_loss_forward
from detection.ops.pooling import (
    roi_align_backward,
    roi_align_forward,
    roi_pool_backward,
    roi_pool_forward,
)
from detection.ops.suppression import nms, nms_match, softnms

__all__ = [
    "deform_conv_backward_input",
    "deform_conv_backward_parameters",
    "deform_conv_forward",
    "get_compiler_version",
    "get_compiling_cuda_version",
    "modulated_deform_conv_backward",
    "modulated_deform_conv_forward",
    "nms",
    "nms_match",
    "roi_align_backward",
    "roi_align_forward",
    "roi_pool_backward",
    "roi_pool_forward",
    "sigmoid_focal_loss_backward",
    "sigmoid_focal_loss_forward",
    "softnms",
]


def get_compiler_version() -> str:
    """Say what stands here instead of a compiler."""
    return f"not compiled; torchvision {torchvision.__version__} takes its place"


def get_compiling_cuda_version() -> str:
    """Say what stands here instead of a version of CUDA."""
    return "not available"


def __getattr__(name: str) -> Callable[..., NoReturn]:
    """Return a function that raises: mmcv asks at import for all that it could ever call.

    Raises:
        AttributeError: `name` begins with an underscore; no operator's does.
    """
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def missing(*_: Any, **__: Any) -> NoReturn:
        raise MissingOperatorError(name)

    return missing
