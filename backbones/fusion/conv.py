"""A convolution that took up the norm and the activation behind it, for inference only.

On a CPU its kernel is laid out once as oneDNN computes with it, where a usual convolution lays it
out at every call, and the activation is applied while the result is at hand. Maps are channels-last
from the first such convolution on.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from backbones.fusion.affine import Affine
from backbones.fusion.folded import Folded, taken_up
from backbones.fusion.post_op import post_op, takes_packed

_OPS = torch.ops.mkldnn


class FoldedConv2d(Folded, nn.Conv2d):
    """A convolution, then scale and shift of each channel, then an activation.

    Args:
        conv: The convolution; its padding is in numbers, of zeros.
        affine: Scale and shift, or None for none.
        act: The activation, of a type in `post_op.ACTIVATIONS`, or None.
    """

    def __init__(
        self, conv: nn.Conv2d, affine: Affine | None = None, *, act: nn.Module | None = None
    ) -> None:
        weight, bias = taken_up(conv, affine)
        kernel, stride, padding, dilation = (
            cast("tuple[int, int]", each)
            for each in (conv.kernel_size, conv.stride, conv.padding, conv.dilation)
        )
        with torch.device("meta"):
            super().__init__(
                conv.in_channels,
                conv.out_channels,
                kernel,
                stride,
                padding,
                dilation,
                conv.groups,
                bias=bias is not None,
            )
        self.weight = weight
        if bias is not None:
            self.bias = bias
        self.act = act or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, O, H', W')."""
        return self.run(x, packed=self.takes_packed(x))

    def run(self, x: Tensor, *, packed: bool) -> Tensor:
        """Do the same, with the answer of `takes_packed` at hand."""
        y: Tensor
        if not packed:
            y = self.act(super().forward(x))
            return y
        y = _OPS._convolution_pointwise(x, *self._pack(x), *post_op(self.act))
        return y

    def add_to(self, y: Tensor, x: Tensor, *, packed: bool) -> Tensor:
        """Add the convolution to a map of the caller's own, then activate.

        Args:
            y: (N, O, H', W'); its numbers are lost.
            x: (N, C, H, W).
            packed: The answer of `takes_packed`.

        Returns:
            (N, O, H', W').
        """
        summed: Tensor
        if self.groups > 1 or not packed:
            summed = self.act(y + super().forward(x))
            return summed
        name, *how = post_op(self.act)
        after = None if name == "none" else name
        summed = _OPS._convolution_pointwise_.binary(y, x, *self._pack(x), "add", 1.0, after, *how)
        return summed

    def takes_packed(self, x: Tensor) -> bool:
        """Whether a map goes through the kernel as oneDNN lays it out."""
        return takes_packed(x, self.weight)

    def _pack(self, x: Tensor) -> tuple[Any, ...]:
        """Lay out the kernel as the first map asks for; maps of other sizes are served as well."""
        if self._packed is None:
            assert not isinstance(self.padding, str)
            how = [list(each) for each in (self.padding, self.stride, self.dilation)]
            kernel = _OPS._reorder_convolution_weight(self.weight, *how, self.groups, list(x.shape))
            self._packed = (kernel, self.bias, *how, self.groups)
        packed: tuple[Any, ...] = self._packed
        return packed


class FoldedSum(nn.Module):
    """Convolutions of one map, added up.

    Args:
        branches: What each sees of the map (an identity, a pooling), and the convolution.
    """

    def __init__(self, *branches: tuple[nn.Module, FoldedConv2d]) -> None:
        super().__init__()
        self.views = nn.ModuleList(view for view, _ in branches)
        self.convs = nn.ModuleList(conv for _, conv in branches)

    def absorb(self, scale: Tensor, shift: Tensor) -> None:
        """Take up a norm that follows (see `fusion.Absorbs`)."""
        for index, conv in enumerate(self.convs):
            added = torch.zeros_like(shift) if index else shift
            self.convs[index] = FoldedConv2d(cast("FoldedConv2d", conv), (scale, added))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, O, H', W')."""
        y: Tensor = self.convs[0](self.views[0](x))
        for view, each in zip(self.views[1:], self.convs[1:], strict=True):
            conv = cast("FoldedConv2d", each)
            y = conv.add_to(y, view(x), packed=conv.takes_packed(x))
        return y
