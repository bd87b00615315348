"""The DiCE unit for inference on a CPU: all three convolutions as one, norms taken up.

Each is a 3x3 window over two of the three dimensions, with a kernel that depends on the third. Let
p be one side of the map and q the other. Then a kernel depends on (q, c), or on a part of it, and
moves along p and along one of channels, rows and columns, where a step is a distance in memory that
is the same everywhere. So the map is laid out three times, a step before, as it is and a step
after, and what is left is a depthwise convolution of 3x3 windows with S C channels a kind: the
window moves along p and over the three. Where a step would leave its dimension the kernel has a
zero. Scales and shifts of the norm are those of a channel c, and so of the kernel.

Shape suffixes: N images, C channels, S side of the map (p or q), M = N S S pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from backbones.fusion.affine import affine_of
from backbones.fusion.conv import FoldedConv2d
from backbones.fusion.post_op import takes_packed
from backbones.products import is_plain

if TYPE_CHECKING:
    from backbones.methods.dice.unit import ConvNormPReLU, Dice

_KINDS = 3
_TAPS = 3
_LARGEST = 3 * 2**19
"""Numbers (6 MiB in single precision) up to which maps of several images are laid out at once."""

prelu = torch._prelu_kernel
"""PReLU with slopes of the shape that they are broadcast from, which saves small maps a reshape."""


class Way(NamedTuple):
    """How units compute in a pass.

    Attributes:
        workspace: Numbers for the layouts of a map; one unit after the other writes there, so that
            the memory is at hand.
        packed: Whether convolutions use their kernels as oneDNN lays them out.
    """

    workspace: Tensor
    packed: bool

    @classmethod
    def of(cls, x: Tensor, numbers: int) -> Way:
        """Choose for as many images as `x` has, which take so many numbers each."""
        return cls(x.new_empty(len(x) * numbers), takes_packed(x, x))


class FusedDice(nn.Module):
    """What a DiCE unit for square maps computes in evaluation mode.

    Args:
        unit: The unit; it is kept for maps of other sizes, for other devices and types, and for
            tracers.
    """

    def __init__(self, unit: Dice) -> None:
        super().__init__()
        self.general = unit
        self.channels = unit.depth_conv.in_channels
        self.side = unit.size[0]
        self.windows = _windows(unit)
        slopes_C = unit.branch_act.weight.detach().chunk(_KINDS)
        self.slopes = _keep(_by_place(slopes_C, self.side).view(1, -1, 1, 1))
        scale, shift = affine_of(unit.local.norm)
        mean_CK = unit.local.conv.weight.detach().double()[:, :, 0, 0] * scale[:, None]
        shares = (_keep(share.to(self.slopes)) for share in mean_CK.unbind(1))
        self.share_of_depth, self.share_of_rows, self.share_of_columns = shares
        self.shift = _keep(shift.to(self.slopes))
        self.local_slopes = _keep(unit.local.act.weight)
        self.squeeze = _keep(unit.squeeze.weight[:, :, 0, 0].t() / self.side**2)
        self.excite = _keep(unit.excite.weight[:, :, 0, 0].t())
        self.project = folded(unit.project)
        self.project_slopes = slopes(unit.project)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, O, H, W)."""
        if not self.takes(x, (x.shape[2], x.shape[3])):
            general: Tensor = self.general(x)
            return general
        few = parts(x, self.numbers)
        way = Way.of(few[0], self.numbers)
        return joined([self.of_padded(padded(part), way) for part in few])

    @property
    def numbers(self) -> int:
        """Numbers in all layouts of the map of an image."""
        return _KINDS * _TAPS * self.side**2 * self.channels

    def takes(self, x: Tensor, size: tuple[int, int]) -> bool:
        """Whether maps of this size can be computed this way when `x` is the network's map."""
        return (
            is_plain(x)
            and x.shape[0] > 0
            and x.dtype == self.shift.dtype
            and not torch.is_autocast_enabled("cpu")
            and size == (self.side, self.side)
        )

    def of_padded(self, rows: Tensor, way: Way) -> Tensor:
        """Compute the unit for pixels with one more before them and one behind.

        Args:
            rows: (1 + M + 1, C), contiguous. What the two more pixels hold does not count, but it
                is finite.
            way: With a workspace of `numbers` or more for each image.

        Returns:
            (N, O, S, S), channels-last.
        """
        side, c = self.side, self.channels
        row, image = side * c, side * side * c
        images = (rows.shape[0] - 2) // side**2
        kinds = prelu(self._convolve(rows, way, images), self.slopes)
        size, (by_p, by_q) = (images, side, side, c), (_KINDS * row, c)
        of_depth = kinds.as_strided(size, (_KINDS * image, by_p, by_q, 1), 0)
        # the only kind for which p is the column
        of_rows = kinds.as_strided(size, (_KINDS * image, by_q, by_p, 1), row)
        of_columns = kinds.as_strided(size, (_KINDS * image, by_p, by_q, 1), 2 * row)
        z = torch.addcmul(self.shift, of_depth, self.share_of_depth)
        z.addcmul_(of_rows, self.share_of_rows).addcmul_(of_columns, self.share_of_columns)
        z = prelu(z, self.local_slopes)
        gate = z.view(images, -1, c).sum(1).mm(self.squeeze).relu_().mm(self.excite).sigmoid_()
        y = self.project.run(z.permute(0, 3, 1, 2), packed=way.packed)
        y = prelu(y, self.project_slopes)
        return y.mul_(gate.view(images, -1, 1, 1))

    def _convolve(self, rows: Tensor, way: Way, images: int) -> Tensor:
        """Return (N, 3 S C, 1, S), channels-last: all kinds for every q and c, at every p."""
        side, c = self.side, self.channels
        row, image = side * c, side * side * c
        # strides of image, step, p, q and channel in numbers, and where the step before begins
        ways = (
            ((image, c, row, c, 1), 0),
            ((image, 1, c, row, 1), c - 1),
            ((image, 1, row, c, 1), c - 1),
        )
        channels = _KINDS * row
        size = (images, _TAPS, side, side, c)
        into = (_TAPS * side * channels, side * channels, channels, c, 1)
        for kind, (strides, begin) in enumerate(ways):
            seen = rows.as_strided(size, strides, begin)
            way.workspace.as_strided(size, into, kind * row).copy_(seen)
        size4 = (images, channels, _TAPS, side)
        laid_out = way.workspace.as_strided(size4, (into[0], 1, *into[1:3]))
        y = self.windows.run(laid_out, packed=way.packed)
        return y.contiguous(memory_format=torch.channels_last)


def parts(x: Tensor, numbers: int) -> Sequence[Tensor]:
    """Divide images so that few enough are computed together.

    Args:
        x: (N, ...).
        numbers: That an image takes.
    """
    return torch.split(x, max(1, _LARGEST // numbers))


def joined(maps: Sequence[Tensor]) -> Tensor:
    """Put the maps of parts together."""
    return maps[0] if len(maps) == 1 else torch.cat(list(maps))


def padded(x: Tensor) -> Tensor:
    """Write the pixels of maps one below the other, a zero pixel before them and one behind.

    Args:
        x: (N, C, H, W).

    Returns:
        (1 + N H W + 1, C).
    """
    rows = room(x, x.shape[0] * x.shape[2] * x.shape[3], channels=x.shape[1])
    rows[1:-1].view(x.shape[0], *x.shape[2:], x.shape[1]).copy_(x.permute(0, 2, 3, 1))
    return rows


def room(x: Tensor, pixels: int, *, channels: int) -> Tensor:
    """Return (1 + pixels + 1, C), like `x` in type, of which only the first and last are set."""
    rows = x.new_empty(1 + pixels + 1, channels)
    rows[:: pixels + 1].zero_()
    return rows


class FusedStem(nn.Module):
    """A convolution with its norm and PReLU, and a pooling, of some images at a time.

    Args:
        layer: The convolution.
        pool: What follows.
    """

    def __init__(self, layer: ConvNormPReLU, pool: nn.Module) -> None:
        super().__init__()
        self.conv, self.act, self.pool = folded(layer), layer.act, pool

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, O, H', W')."""
        if not is_plain(x):
            whole: Tensor = self.pool(self.act(self.conv(x)))
            return whole
        numbers = max(1, x[:1, 0].numel() // 4 * self.conv.out_channels)
        return joined([self.pool(self.act(self.conv(part))) for part in parts(x, numbers)])


def folded(layer: ConvNormPReLU) -> FoldedConv2d:
    """Return the convolution with the norm taken up; the PReLU is left."""
    return FoldedConv2d(layer.conv, affine_of(layer.norm))


def slopes(layer: ConvNormPReLU) -> nn.Parameter:
    """Return what the PReLU multiplies negative numbers by, (1, O, 1, 1)."""
    return _keep(layer.act.weight.view(1, -1, 1, 1))


def _keep(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach().contiguous(), requires_grad=False)


def _windows(unit: Dice) -> FoldedConv2d:
    """Return the three convolutions and their norm as one over (step, p) for each (kind, q, c)."""
    side, channels = unit.size[0], unit.depth_conv.in_channels
    depth, rows, columns = (
        conv.weight.detach().double()[:, 0]
        for conv in (unit.depth_conv, unit.height_conv, unit.width_conv)
    )
    # kernels of depth and columns move along the rows first, which is p for them
    by_place = [
        depth.mT[None].repeat(side, 1, 1, 1),
        rows[:, None].repeat(1, channels, 1, 1),
        columns.mT[:, None].repeat(1, channels, 1, 1),
    ]
    for kernel_QC33, bounded in zip(by_place, (0, 1, 1), strict=True):
        kernel_QC33.select(bounded, 0)[..., 0, :] = 0
        kernel_QC33.select(bounded, -1)[..., 2, :] = 0
    scale, shift = (_by_place(each.chunk(_KINDS), side) for each in affine_of(unit.branch_norm))
    weight = torch.stack(by_place) * scale[..., None, None]
    conv = nn.Conv2d(
        weight[..., 0, 0].numel(),
        weight[..., 0, 0].numel(),
        _TAPS,
        padding=(0, 1),
        groups=weight[..., 0, 0].numel(),
        device="meta",
    )
    like = unit.depth_conv.weight
    conv.weight = _keep(weight.view(-1, 1, _TAPS, _TAPS).to(like))
    conv.bias = _keep(shift.flatten().to(like))
    return FoldedConv2d(conv)


def _by_place(of_channels: tuple[Tensor, ...], side: int) -> Tensor:
    """Repeat what each kind has for its channels for every place: (3, S, C)."""
    return torch.stack([each.expand(side, -1) for each in of_channels])
