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

from backbones.products import is_plain
from backbones.shift import Pair, Shift
from backbones.shift.inference import infer
from backbones.shift.map import shifted
from backbones.shift.mixing import Mixing

_FEWEST = 128
"""Pixels of a map from which a product for each image is as fast as one convolution of all."""

_FULL = {torch.float32, torch.float64}


class ShiftedPointwise(nn.Module):
    """A 1x1 group convolution of a map whose channels are translated, then rotated.

    Args:
        shift: What happens to the channels of the input.
        outputs: Channels that come out.
        groups: Divides both.
        stride: Vertical and horizontal; pixels are left out.
        bias: Whether there is one.

    Attributes:
        conv: The convolution, of stride 1; other methods may put theirs in its place.
    """

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
        self.conv = nn.Conv2d(shift.channels, outputs, 1, groups=groups, bias=bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight anew (He, fan out), set the bias to 0."""
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, O, H', W'), sizes rounded up."""
        conv, mixing = self.conv, self.mixing
        if type(conv) is nn.Conv2d:
            if runs_on_triton(x):
                from backbones.shift.launch import convolve

                return convolve(x, conv.weight, conv.bias, mixing)
            if is_quick_on_cpu(x, conv.weight) and not _suits_one_convolution(x, mixing):
                return infer(x, conv.weight.flatten(1), conv.bias, mixing)
        y: Tensor = conv(shifted(x, mixing.shift, stride=mixing.stride))
        return y

    def extra_repr(self) -> str:
        """Show what is not the convolution's."""
        shift = self.mixing.shift
        return (
            f"stride={self.mixing.stride}, distance={shift.distance}, "
            f"directions={len(shift.directions)}, boundary={shift.boundary}"
        )


def _suits_one_convolution(x: Tensor, mixing: Mixing) -> bool:
    """Whether many small maps are only rotated: a pass over them costs less than many products."""
    return mixing.only_rotates and x.shape[0] > 1 and x.shape[2] * x.shape[3] < _FEWEST


def is_quick_on_cpu(x: Tensor, weight: Tensor) -> bool:
    """Whether maps are worked on in parts: on a CPU, with no gradient and no tracer.

    Sums of parts in half precision would round more often than a convolution does.
    """
    fits = x.dtype == weight.dtype and x.dtype in _FULL and x.numel() > 0
    return fits and is_plain(x) and not torch.is_autocast_enabled("cpu")


def runs_on_triton(x: Tensor) -> bool:
    """Whether the Triton kernels compute it: a map on a GPU they have numbers for, not traced."""
    return (
        x.is_cuda
        and x.dtype in {torch.float32, torch.float16, torch.bfloat16}
        and not torch.compiler.is_compiling()
        and not torch._C._is_tracing()
        and _has_triton()
    )


@cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None
