"""Address shift, channel shift and point-wise group convolution as one operator.

The one place that chooses how it is computed: a Triton kernel on a GPU, products that read where
channels lie on a CPU without gradients, and one pass over the map before an ordinary convolution
for everything else (training on a CPU, tracing, double precision on a GPU).
"""

from __future__ import annotations

import importlib.util
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.products import is_plain
from backbones.shift import Pair, Shift
from backbones.shift_inference import Mixing, infer
from backbones.shift_map import shifted

_FEWEST = 128
"""Pixels of a map from which a product for each image is as fast as one convolution of all."""


class ShiftedPointwise(nn.Module):
    """A 1x1 group convolution of a map whose channels are translated, then rotated.

    Args:
        shift: What happens to the channels of the input.
        outputs: Channels that come out.
        groups: Divides both.
        stride: Vertical and horizontal; pixels are left out.
        bias: Whether there is one.

    Attributes:
        weight: (O, C / groups, 1, 1).
        bias: (O) or None.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        shift: Shift,
        outputs: int,
        *,
        groups: int = 1,
        stride: Pair = (1, 1),
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.mixing = Mixing(shift, outputs, groups, stride)
        self.weight = nn.Parameter(torch.empty(outputs, shift.channels // groups, 1, 1))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight anew (He, fan out), set the bias to 0."""
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, O, H', W'), sizes rounded up."""
        return shifted_pointwise(x, self.weight, self.bias, self.mixing)

    def absorb(self, scale: Tensor, shift: Tensor) -> None:
        """Take up a norm that follows: the output becomes scale y + shift, (O) each."""
        with torch.no_grad():
            self.weight.mul_(scale.view(-1, 1, 1, 1))
            bias = shift if self.bias is None else shift + scale * self.bias
            self.bias = nn.Parameter(bias.to(self.weight.dtype).clone())

    def extra_repr(self) -> str:
        """Show the shape of the layer."""
        mixing = self.mixing
        return (
            f"{mixing.shift.channels}, {mixing.outputs}, groups={mixing.groups}, "
            f"stride={mixing.stride}, distance={mixing.shift.distance}, "
            f"directions={len(mixing.shift.directions)}, boundary={mixing.shift.boundary}"
        )


def shifted_pointwise(x: Tensor, weight: Tensor, bias: Tensor | None, mixing: Mixing) -> Tensor:
    """Translate and rotate channels, and convolve them by 1x1 in groups.

    Args:
        x: (N, C, H, W).
        weight: (O, C / groups, 1, 1).
        bias: (O) or none.
        mixing: Shift, groups and stride.

    Returns:
        (N, O, H', W').
    """
    if runs_on_triton(x):
        from backbones.shift_triton import convolve

        return convolve(x, weight, bias, mixing)
    if is_quick_on_cpu(x, weight) and not _suits_one_convolution(x, mixing):
        return infer(x, weight.flatten(1), bias, mixing)
    y = shifted(x, mixing.shift, stride=mixing.stride)
    return functional.conv2d(y, weight, bias, groups=mixing.groups)


def _suits_one_convolution(x: Tensor, mixing: Mixing) -> bool:
    """Whether many small maps are only rotated: a pass over them costs less than many products."""
    return mixing.only_rotates and x.shape[0] > 1 and x.shape[2] * x.shape[3] < _FEWEST


def is_quick_on_cpu(x: Tensor, weight: Tensor) -> bool:
    """Whether maps are worked on in parts: on a CPU, with no gradient and no tracer."""
    return is_plain(x) and x.dtype == weight.dtype and not torch.is_autocast_enabled("cpu")


def runs_on_triton(x: Tensor) -> bool:
    """Whether the Triton kernels compute it: a map on a GPU they have numbers for, not traced."""
    return (
        x.device.type == "cuda"
        and x.dtype in {torch.float32, torch.float16, torch.bfloat16}
        and not torch.compiler.is_compiling()
        and not torch._C._is_tracing()
        and _has_triton()
    )


@cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None
