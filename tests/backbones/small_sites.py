"""Small convolutions that between them have every shape a dynamic method meets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from backbones.sites import Role, Site, Slot


def site(channels: tuple[int, int], *, kernel: int = 3, **shape: Any) -> Site:
    """Describe a convolution on maps of 7 x 6; numbers stand for both directions."""
    for key in {"stride", "padding", "dilation"} & set(shape):
        shape[key] = (shape[key],) * 2
    return Site(
        name="layer",
        slots=frozenset({Slot.CONV}),
        role=shape.pop("role", Role.SPATIAL),
        stage=0,
        block=0,
        block_name="block",
        kind=shape.pop("kind", "conv2d"),
        in_channels=channels[0],
        out_channels=channels[1],
        kernel_size=(kernel, kernel),
        in_size=(7, 6),
        out_size=(7, 6),
        block_in_channels=channels[0],
        **shape,
    )


CASES: Mapping[str, Site] = {
    "3x3": site((5, 6), padding=1),
    "stride 2": site((4, 6), padding=1, stride=2),
    "stride 3, no padding": site((3, 2), stride=3),
    "dilation": site((3, 4), padding=2, dilation=2),
    "1x1": site((6, 4), kernel=1),
    "1x1, stride 2": site((4, 6), kernel=1, stride=2),
    "1x1, padding": site((4, 3), kernel=1, padding=1),
    "4x4": site((2, 3), kernel=4, padding=2),
    "bias": site((3, 4), padding=1, bias=True),
    "groups": site((4, 6), padding=1, groups=2),
    "1x1, groups": site((4, 6), kernel=1, groups=2),
    "depthwise": site((6, 6), padding=1, groups=6, role=Role.DEPTHWISE),
    "depthwise, stride 2": site((6, 6), padding=1, stride=2, groups=6, role=Role.DEPTHWISE),
    "many outputs": site((3, 40), padding=1),
    "bias and dilation": site((6, 4), padding=2, dilation=2, bias=True),
    "1x5": replace(site((4, 6)), kernel_size=(1, 5), padding=(0, 2)),
    "uneven": replace(
        site((4, 6), bias=True, groups=2),
        kernel_size=(2, 3),
        stride=(1, 2),
        padding=(2, 1),
        dilation=(3, 1),
    ),
}


def shake(module: nn.Module) -> None:
    """Move norms, biases and statistics away from 0 and 1, where a mistake could hide."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim == 1 or name.endswith("bias"):
                parameter.add_(0.3 * torch.randn_like(parameter))
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.1 * torch.randn_like(buffer))
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand_like(buffer))
