"""SPConv for inference: the norms inside and behind it are part of its three convolutions.

As beta and gamma add up to 1, what follows both maps alike may as well be done to each: the sum
y = U1 + beta (U3 - U1) is scaled and shifted by scaling and shifting U3 and U1, and the difference
of the means, which beta is made of, is scaled back.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from backbones.fusion.conv import FoldedConv2d
from backbones.products import is_plain

_PART = 2**18
"""Numbers of a map (1 MiB in single precision) that are made and added up at a time."""


class FusedSplitConv(nn.Module):
    """Two maps of all output channels and their weighted sum.

    Args:
        group_wise: Convolution of the representative channels, with its norm.
        point_wise: The same by 1x1, or None.
        redundant: Convolution of the other channels by 1x1, with its norm.
        weighs: Whether the maps are weighed, or only added.
    """

    unscale: Tensor

    def __init__(
        self,
        group_wise: FoldedConv2d,
        point_wise: FoldedConv2d | None,
        redundant: FoldedConv2d,
        *,
        weighs: bool,
    ) -> None:
        super().__init__()
        self.group_wise = group_wise
        self.point_wise = point_wise
        self.redundant = redundant
        self.weighs = weighs
        self.stride = group_wise.stride
        self.is_strided = max(self.stride) > 1
        self.representative = group_wise.in_channels
        self.register_buffer("unscale", torch.ones_like(group_wise.weight[:, :1, :1, 0]))

    def absorb(self, scale: Tensor, shift: Tensor) -> None:
        """Take up a norm that follows (see `fusion.Absorbs`)."""
        nothing = torch.zeros_like(shift)
        both = (shift, shift) if self.weighs else (shift, nothing)
        self.group_wise = FoldedConv2d(self.group_wise, (scale, both[0]))
        self.redundant = FoldedConv2d(self.redundant, (scale, both[1]))
        if self.point_wise is not None:
            self.point_wise = FoldedConv2d(self.point_wise, (scale, nothing))
        # a channel that is scaled by zero is the shift whatever the weights are
        undone = torch.where(scale == 0, 0.0, 1 / scale)
        self.unscale = (self.unscale.double() * undone.view(-1, 1, 1)).to(self.unscale)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer, some images at a time on a CPU, so that a cache holds their maps.

        Args:
            x: (N, C, H, W).

        Returns:
            (N, O, H', W').
        """
        positions = 1
        for size, stride in zip(x.shape[2:], self.stride, strict=True):
            positions *= -(-size // stride)
        images = max(1, _PART // (self.group_wise.out_channels * positions))
        if x.shape[0] <= images or not is_plain(x):
            return self._apply_to(x)
        first = self._apply_to(x[:images])
        whole = torch.empty(
            (x.shape[0], *first.shape[1:]),
            dtype=first.dtype,
            memory_format=torch.channels_last,
        )
        whole[:images] = first
        for start in range(images, x.shape[0], images):
            self._apply_to(x[start : start + images], out=whole[start : start + images])
        return whole

    def _apply_to(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        alone = is_plain(x)
        packed = alone and self.group_wise.takes_packed(x)
        xr, xu = x[:, : self.representative], x[:, self.representative :]
        if packed:  # else each convolution would make a copy of its own
            xr, xu = (part.contiguous(memory_format=torch.channels_last) for part in (xr, xu))
        u3 = self.group_wise.run(xr, packed=packed)
        if self.is_strided:
            xr, xu = _pool(xr, self.stride), _pool(xu, self.stride)
        if self.point_wise is not None:
            u3 = self.point_wise.add_to(u3, xr, packed=packed)
        if not self.weighs:
            return self.redundant.add_to(u3, xu, packed=packed)
        u1 = self.redundant.run(xu, packed=packed)
        apart = u3.sum((2, 3), keepdim=True) - u1.sum((2, 3), keepdim=True)
        beta = (apart * (self.unscale / (u1.shape[2] * u1.shape[3]))).sigmoid().to(u1.dtype)
        if alone:
            return torch.lerp(u1, u3, beta, out=u1 if out is None else out)
        return torch.lerp(u1, u3, beta)


def _pool(x: Tensor, stride: tuple[int, ...]) -> Tensor:
    return functional.avg_pool2d(x, stride, ceil_mode=True)
