"""The residual block of AddressNet (He et al., WACV 2019, arXiv 1809.08458).

A 1x1 group convolution widens, its norm and ReLU follow; address shift, channel shift and a second
1x1 group convolution come as one operator, with a norm; the shortcut is the shortcut shift, or a
sum. The order, the expansion, the groups and all distances are *our reading* (the paper's layer
tables could not be had).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.fusion.affine import affine_of, scaled, shifted
from backbones.shift import Shift
from backbones.shift.inference import (
    Part,
    Product,
    by_channel,
    images_at_a_time,
    parts,
    start,
)
from backbones.shift.mixing import Mixing
from backbones.shift.pointwise import ShiftedPointwise, is_quick_on_cpu, runs_on_triton
from backbones.shift.shape import BlockShape
from backbones.shift.widening import Widening
from backbones.shift.window import slide


class AddressBlock(nn.Module):
    """Map (N, C, H, W) to (N, O, H', W'), sizes rounded up where the stride does not divide.

    Args:
        shape: Of the block.
    """

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.shape = shape
        place, wide = shape.place, shape.shift.channels
        self.expand = nn.Conv2d(place.channels, wide, 1, groups=shape.groups, bias=False)
        self.expand_norm: nn.Module = nn.BatchNorm2d(wide)
        self.project = ShiftedPointwise(
            shape.shift, shape.fresh, groups=shape.groups, stride=place.stride
        )
        self.project_norm: nn.Module = nn.BatchNorm2d(shape.fresh)
        self.gate = nn.Identity()
        self.drop_path = nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the convolutions anew (He, fan out)."""
        nn.init.kaiming_normal_(self.expand.weight, mode="fan_out", nonlinearity="relu")
        self.project.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        if self._is_quick(x):
            return self._infer(x)
        wide = functional.relu(self.expand_norm(self.expand(x)))
        y, shortcut = self.project_norm(self.project(wide)), self._pooled(x)
        if self.shape.shortcut == "add":
            y = self.drop_path(self.gate(y))
            return functional.relu(y + _widened(shortcut, y.shape[1]))
        fresh = functional.relu(self.drop_path(y))
        kept = shortcut[:, shortcut.shape[1] - self._keep :]
        window: Tensor = self.gate(torch.cat((kept, fresh), dim=1))
        return window

    @property
    def _keep(self) -> int:
        return self.shape.place.outputs - self.shape.fresh

    def _pooled(self, x: Tensor) -> Tensor:
        """Return the input at the size of the output: means over windows of the stride."""
        stride = self.shape.place.stride
        if stride == (1, 1):
            return x
        return functional.avg_pool2d(x, stride, ceil_mode=True, count_include_pad=False)

    def _is_quick(self, x: Tensor) -> bool:
        if self.training or torch.is_grad_enabled():
            return False
        # a gate, stochastic depth or another method's layer may have come in since
        if any(type(module) not in _KNOWN for module in (*self.children(), self.project.conv)):
            return False
        by_kernel = runs_on_triton(x) and not torch.is_autocast_enabled(x.device.type)
        return by_kernel or is_quick_on_cpu(x, self.expand.weight)

    def _infer(self, x: Tensor) -> Tensor:
        """Apply the block in evaluation mode; only what the second convolution makes is written."""
        shape, shortcut = self.shape, self._pooled(x)
        if shape.shortcut == "add":
            size = self.project.mixing.size(x.shape[2], x.shape[3])
            y = x.new_empty(x.shape[0], shape.fresh, *size)
            self._write(x, y, residual=shortcut)
            return y
        y, fresh = slide(shortcut, keep=self._keep, fresh=shape.fresh, ahead=shape.ahead)
        self._write(x, fresh, residual=None)
        return y

    def _write(self, x: Tensor, y: Tensor, *, residual: Tensor | None) -> None:
        weights = (
            *folded(self.expand.weight, self.expand.bias, self.expand_norm),
            *folded(self.project.conv.weight, self.project.conv.bias, self.project_norm),
        )
        if x.device.type == "cuda":
            _write_by_kernel(x, y, weights=weights, mixing=self.project.mixing, residual=residual)
        else:
            _write_by_parts(x, y, weights=weights, mixing=self.project.mixing, residual=residual)

    def fused(self) -> nn.Module:
        """Return a block without norms that computes the same in evaluation mode."""
        block = copy.deepcopy(self)
        for conv, name in ((block.expand, "expand_norm"), (block.project.conv, "project_norm")):
            weight, bias = folded(conv.weight, conv.bias, getattr(block, name))
            conv.weight = nn.Parameter(weight.detach())
            conv.bias = nn.Parameter(bias.detach())
            setattr(block, name, nn.Identity())
        return block.eval()


_KNOWN = {nn.Conv2d, ShiftedPointwise, nn.BatchNorm2d, nn.Identity}
Weights = tuple[Tensor, Tensor, Tensor, Tensor]
"""Weight and bias of the first and of the second convolution."""


def _write_by_parts(
    x: Tensor, y: Tensor, *, weights: Weights, mixing: Mixing, residual: Tensor | None
) -> None:
    """Make the wide map of some images at a time, in memory that a cache holds."""
    w1, b1, w2, b2 = weights
    size = mixing.size(x.shape[2], x.shape[3])
    count = min(x.shape[0], images_at_a_time(mixing.shift.channels, size))
    widen = Widening(w1.flatten(1), b1, mixing, like=x, images=count)
    product = Product(w2.flatten(1), widen.rest, widen.size)
    for part in parts(x.shape[0], count):
        wide = widen(by_channel(x[part]))
        with Part(y[part]) as target:
            start(target, b2, None if residual is None else residual[part].transpose(0, 1))
            product.add_to(target, wide)
            target.relu_()


def _write_by_kernel(
    x: Tensor, y: Tensor, *, weights: Weights, mixing: Mixing, residual: Tensor | None
) -> None:
    from backbones.shift.launch import forward

    w1, b1, w2, b2 = weights
    still = Mixing(Shift(x.shape[1]), mixing.shift.channels, mixing.groups)
    wide = x.new_empty(x.shape[0], mixing.shift.channels, *x.shape[2:])
    forward(x, w1, b1, still, out=wide, relu=True)
    forward(wide, w2, b2, mixing, out=y, relu=residual is None)
    if residual is not None:
        y[:, : residual.shape[1]].add_(residual)
        y.relu_()


def folded(weight: Tensor, bias: Tensor | None, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a 1x1 convolution with the norm behind it."""
    if not isinstance(norm, nn.BatchNorm2d):
        return weight, weight.new_zeros(weight.shape[0]) if bias is None else bias
    affine = affine_of(norm)
    return scaled(weight, affine[0]), shifted(bias, affine, like=weight)


def _widened(x: Tensor, channels: int) -> Tensor:
    """Put channels of zeros behind those of a map."""
    missing = channels - x.shape[1]
    return functional.pad(x, (0, 0, 0, 0, 0, missing)) if missing else x
